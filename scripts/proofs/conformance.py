r"""The conformance table: what each QuPath wrote, what both engines made of it, who reads it then.

    python scripts/proofs/conformance.py --markdown docs/conformance.md --json conformance.json \
        --qupath /opt/QuPath-0.6.0 [--qupath ...]

For each project in ``tests/data``, made by one QuPath, and each engine (native, and paquo with each
QuPath from 0.5 on): every image is read, scored with made-up results, compared, and cleared again.
What was scored is then read by every QuPath given, through its own classes, and compared with what
the same QuPath finds in the file as it was. Runs from the root of the repository.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from qupath_hccmil.errors import HccMilError
from qupath_hccmil.qupath.data_types import ImageResults, ImageState
from qupath_hccmil.qupath.project_differences import difference
from qupath_hccmil.qupath.results_comparison import same_results
from tests.qupath.conftest import QuPathProcess
from tests.qupath.engines import NATIVE, assert_same_state, results_for
from tests.qupath.qupath_contents import contents, our_tiles, without_ours

PROJECTS = Path(__file__).resolve().parents[2] / "tests" / "data" / "projects"
OLDEST_PAQUO = (0, 5)
IDENTITIES_SINCE = (0, 4)

Engine = Callable[..., Any]


@dataclass
class Row:
    """One engine on the project of one QuPath.

    Attributes
    ----------
    read : int
        Images read, of `images`.
    agree : int
        Of these, images that the native engine reads the same.
    written : int
        Images that results were written into and read back.
    read_only : int
        Images of a QuPath whose files are not written.
    changed : list of str
        What differs, that is not ours: after writing, and after clearing.
    cleared : int
        Images without anything of ours after clearing.
    same_bytes : int
        Of these, data files that are byte for byte as they were.
    shown : dict
        QuPath to [images that it shows with the same objects and ours, images that it could read
        before].
    """

    project: str
    engine: str
    images: int = 0
    read: int = 0
    agree: int = 0
    written: int = 0
    read_only: int = 0
    changed: list[str] = field(default_factory=list)
    cleared: int = 0
    same_bytes: int = 0
    shown: dict[str, list[int]] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--qupath", type=Path, action="append", help="folder of a QuPath")
    parser.add_argument("--markdown", type=Path, help="file for the table")
    parser.add_argument("--json", type=Path, help="file for the facts")
    arguments = parser.parse_args()
    folders = arguments.qupath or sorted(Path("/opt").glob("QuPath-*"))
    with tempfile.TemporaryDirectory() as scratch:
        rows = list(run(folders, Path(scratch)))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), "utf-8")
    table = markdown(rows, [folder.name for folder in folders])
    if arguments.markdown:
        arguments.markdown.write_text(table, "utf-8")
    print(table)
    sys.exit(any(failures(row) for row in rows))


def run(folders: list[Path], scratch: Path) -> Iterator[Row]:
    """All rows; a scored copy of each project is kept until every QuPath has read it."""
    rows: list[tuple[Row, Path]] = []
    for kind, engine in engines(folders):
        for project in sorted(PROJECTS.iterdir()):
            copy = Path(shutil.copytree(project, scratch / kind / project.name))
            row = Row(project.name, kind)
            print(f"{kind}: {project.name}", file=sys.stderr)
            work_on(row, engine, project, copy)
            rows.append((row, copy))
        if engine is not NATIVE:
            engine.close()
    for folder in folders:
        print(f"read by {folder.name}", file=sys.stderr)
        show(folder, [each for each in rows if each[0].written], scratch / "found.json")
    yield from (row for row, _ in rows)


def engines(folders: list[Path]) -> Iterator[tuple[str, Any]]:
    """The native engine, and paquo with each QuPath that it works with."""
    yield "native", NATIVE
    for folder in folders:
        if version(folder.name) >= OLDEST_PAQUO:
            yield f"paquo, {folder.name}", QuPathProcess(folder)


def version(name: str) -> tuple[int, ...]:
    """Major and minor in the name of a folder such as ``QuPath-0.6.0``."""
    return tuple(int(part) for part in name.rpartition("-")[2].split(".")[:2])


def work_on(row: Row, engine: Engine, original: Path, copy: Path) -> None:
    """Read, score, compare, and clear a second copy."""
    states = engine("read", original)
    row.images = len(states)
    row.read = len(states)
    ids = version(row.project) >= IDENTITIES_SINCE
    row.agree = sum(map(agrees, states, NATIVE("read", original), [ids] * len(states)))
    results = {each.entry.id: results_for(each) for each in states if each.annotations}
    for state in states:
        if state.entry.id not in results:
            continue
        try:
            engine("write", copy, {state.entry.id: results[state.entry.id]}, stamps([state]))
        except HccMilError:
            row.read_only += bool(state.read_only)
    row.changed = difference(original, copy)
    after = engine("read", copy)
    row.written = sum(
        bool(each.results) and same_results(each.results, results[each.entry.id]) for each in after
    )
    if not row.written:
        return
    clean = Path(shutil.copytree(copy, copy.with_name(f"{copy.name} cleared")))
    scored = {each.entry.id: ImageResults() for each in after if each.results}
    engine("write", clean, scored, stamps(engine("read", clean)))
    row.cleared = sum(not each.results for each in engine("read", clean) if each.entry.id in scored)
    row.changed += difference(original, clean)
    row.same_bytes = sum(
        path.read_bytes() == (original / path.relative_to(clean)).read_bytes()
        for path in data_files(clean)
        if path.parent.name in scored
    )


def stamps(states: list[ImageState]) -> dict[str, str]:
    """By the id of the image."""
    return {each.entry.id: each.stamp for each in states}


def agrees(one: ImageState, two: ImageState, ids: bool) -> bool:
    """Whether two engines read the same."""
    try:
        assert_same_state(one, two, ids=ids)
    except AssertionError:
        return False
    return True


def data_files(project: Path) -> list[Path]:
    """All of a project."""
    return sorted(project.glob("data/*/data.qpdata"))


def show(folder: Path, rows: list[tuple[Row, Path]], out: Path) -> None:
    """Let a QuPath read what was written, and what was there before."""
    pairs = {
        path: PROJECTS / row.project / path.relative_to(copy)
        for row, copy in rows
        for path in data_files(copy)
    }
    found = contents(folder, [*pairs, *set(pairs.values())], out)
    for row, copy in rows:
        before = {path: found[pairs[path]] for path in data_files(copy)}
        readable = [path for path, content in before.items() if "error" not in content]
        same = [
            path
            for path in readable
            if without_ours(found[path]) == without_ours(before[path]) and our_tiles(found[path])
        ]
        row.shown[folder.name] = [len(same), len(readable)]


def failures(row: Row) -> bool:
    """Whether anything in a row is not as promised."""
    return bool(
        row.agree != row.images
        or row.changed
        or row.cleared != row.written
        or (row.engine == "native" and row.same_bytes != row.written)
        or any(same != readable for same, readable in row.shown.values())
    )


def markdown(rows: list[Row], folders: list[str]) -> str:
    """Both tables."""
    lines = [
        "# Conformance",
        "",
        "Made by this command; do not edit.",
        "",
        "    python scripts/proofs/conformance.py --markdown docs/conformance.md \\",
        f"        {' '.join(f'--qupath {name}' for name in folders)}",
        "",
        "The projects in `tests/data` were each written by the QuPath that their name says, and",
        "hold every kind of object, region, server and path.",
        "",
        "## What the engines read and wrote",
        "",
        "Both engines agree where they give the same annotations, geometry within 0.01 px,",
        "measurements to the bit and tree. *Changed* counts all that `project check` finds",
        "different and is not ours, after writing and again after clearing.",
        "",
        "| project of | engine | images | read | engines agree | written | read-only | changed "
        "| cleared | of these the same bytes |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.project} | {row.engine} | {row.images} | {row.read} | {row.agree} | {row.written} "
        f"| {row.read_only} | {len(row.changed)} | {row.cleared} | {row.same_bytes} |"
        for row in rows
    ]
    lines += [
        "",
        "## What each QuPath shows of what was written",
        "",
        "Images that this QuPath shows with exactly the objects, measurements, history, TMA grid,",
        "connections and properties that it showed before, and our tiles, of the images that it",
        "could read before (an older QuPath does not know every server of a newer one).",
        "",
        f"| project of | written by | {' | '.join(folders)} |",
        "|---|---|" + "---|" * len(folders),
    ]
    lines += [
        f"| {row.project} | {row.engine} | "
        + " | ".join("{} of {}".format(*row.shown[name]) for name in folders)
        + " |"
        for row in rows
        if row.written
    ]
    changed = [f"- {row.project}, {row.engine}: {line}" for row in rows for line in row.changed]
    return "\n".join([*lines, *(["", "## Changed", "", *changed] if changed else []), ""])


if __name__ == "__main__":
    main()
