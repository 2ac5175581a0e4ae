"""The rooms of the package: who may import whom. Arrows go down only, survival stands apart."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import qupath_hccmil

PACKAGE = Path(qupath_hccmil.__file__).parent
# A room is a folder of the package, or a module next to them. Errors, files that are written whole
# or not at all, that other programs hold or that killed processes left, the cache folder, folders
# of results that are written again, folders that are searched with their links, settings read from
# TOML, numbers with their nouns, and the published method are everybody's, so that no rule forces a
# copy.
EVERYBODYS = {
    "errors", "atomic_files", "cache_folder", "held_files", "leftover_files", "linked_folders",
    "method", "plain_words", "result_folder", "settings_file",
}  # fmt: skip
MAY_IMPORT = {
    "api": {
        "demo", "qupath", "scoring", "slides", "stain", "survival", "tables", "tiles",
        "tiles_of_interest",
    },
    "__main__": {"cli"},
    "cli": {
        "cluster", "demo", "encoders", "features", "heads", "judgement", "learning", "mil",
        "model_store", "nuclei", "qupath", "results", "scoring", "slide_sources", "survival",
        "tables", "tiles", "tiles_of_interest", "training",
    },
    "features": {
        "cluster", "encoders", "model_store", "qupath", "scoring", "slide_sources", "slides",
        "stain", "tables", "tiles",
    },
    "slide_sources": {"qupath", "scoring", "slides", "tables", "tiles"},
    "encoders": {"learning", "mil", "model_store", "nuclei", "stain"},
    "tiles_of_interest": {"qupath", "scoring", "survival", "tables"},
    "demo": {"qupath", "slides"},
    "training": {
        "encoders", "features", "heads", "judgement", "learning", "mil", "model_store", "nuclei",
        "qupath", "scoring", "slide_sources", "slides", "stain", "survival", "tables", "tiles",
    },
    "results": {"cluster", "model_store", "qupath", "scoring", "stain", "tables"},
    "cluster": {"scoring"},
    "scoring": {
        "encoders", "heads", "learning", "mil", "model_store", "nuclei", "qupath", "slides",
        "stain", "tables", "tiles",
    },
    "judgement": {"mil", "survival", "tables"},
    "survival": {"tables"},
    "qupath": {"slides", "tables", "tiles"},
    "heads": {"learning", "mil", "model_store"},
    "mil": {"learning", "model_store", "tables"},
    "nuclei": {"learning", "model_store", "slides", "stain"},
    "tiles": {"slides", "stain"},
    "learning": {"tables"},
    "model_store": set(),
    "slides": set(),
    "stain": set(),
    "tables": set(),
    "method": set(),
    "atomic_files": set(),
    "cache_folder": set(),
    "held_files": set(),
    "leftover_files": set(),
    "linked_folders": set(),
    "plain_words": set(),
    "result_folder": set(),
    "settings_file": set(),
    "errors": set(),
}  # fmt: skip
NETWORKS = {
    "encoders", "heads", "learning", "mil", "model_store", "nuclei", "scoring", "training",
}  # fmt: skip
# What a library is about is known to these rooms alone.
LIBRARIES = {
    "paquo": {"qupath"},
    "jpype": {"qupath"},
    "openslide": {"scoring", "slides"},
    "openvino": {"scoring"},
    "h5py": {"features"},
    "timm": {"encoders"},
    "dask": {"cluster"},
    "dask_jobqueue": {"cluster"},
    "distributed": {"cluster"},
    "torch": NETWORKS,
    "torchvision": NETWORKS,
    "lifelines": {"survival"},
    "sksurv": set(),
}


def modules(room: str) -> list[Path]:
    folder = PACKAGE / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


@cache
def imports(path: Path) -> set[tuple[str, ...]]:
    """Everything that a module imports anywhere in it, as parts of dotted names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: imports are absolute here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {tuple(name.split(".")) for name in found}


def rooms_imported(path: Path) -> set[str]:
    ours = {name[1] for name in imports(path) if name[0] == PACKAGE.name and len(name) > 1}
    return ours & MAY_IMPORT.keys()


def test_every_room_stands_in_the_table():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    beside = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert folders | beside == MAY_IMPORT.keys()


def test_arrows_go_down_only():
    TopologicalSorter(MAY_IMPORT).prepare()  # refuses a cycle


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_none_above_it(room):
    allowed = MAY_IMPORT[room] | EVERYBODYS | {room}
    wrong = {
        f"{path.relative_to(PACKAGE)} imports {other}"
        for path in modules(room)
        for other in rooms_imported(path) - allowed
    }
    assert not wrong


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_stays_in_its_rooms(library):
    wrong = {
        str(path.relative_to(PACKAGE))
        for room in MAY_IMPORT.keys() - LIBRARIES[library]
        for path in modules(room)
        if library in {name[0] for name in imports(path)}
    }
    assert not wrong
