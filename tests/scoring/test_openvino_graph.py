"""Networks converted for OpenVINO: what torch computes, kept exactly, and never another's."""

import os
import subprocess
import sys
import tempfile
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from qupath_hccmil.cache_folder import CACHE_VARIABLE
from qupath_hccmil.errors import WriteError
from qupath_hccmil.model_store.model_folder import default_model_dir, load_model_folder
from qupath_hccmil.scoring import openvino_graph as module
from qupath_hccmil.scoring.networks import Networks
from qupath_hccmil.scoring.openvino_graph import openvino_graph
from qupath_hccmil.scoring.openvino_import import import_openvino
from tests.no_room import no_file_above

SHAPE = (2, 16, 16, 3)


class Network(nn.Module):
    """A small network of bytes, with all that its graph follows from."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self._gain = gain

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        image = rgb.permute(0, 3, 1, 2).to(torch.float32) / 255.0
        return torch.sigmoid(self._gain * self.norm(self.convolution(image)))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "openvino"


@pytest.fixture
def conversions(monkeypatch):
    """How often something was converted."""
    made = []
    convert = module.converted
    monkeypatch.setattr(module, "converted", lambda *given: made.append(1) or convert(*given))
    return made


def outputs(files) -> np.ndarray:
    rgb = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)
    return np.asarray(compiled(files)([rgb])[0])


def compiled(files):
    core = import_openvino().Core()
    return core.compile_model(core.read_model(*files), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def graph_of(network: nn.Module, identity: str = "a network") -> tuple[bytes, bytes]:
    return openvino_graph(lambda: network, identity, SHAPE)


def test_a_kept_graph_gives_the_same_bits_and_what_torch_gives(cache, conversions):
    network = Network().eval()
    first, second = (outputs(graph_of(network)) for _ in range(2))
    assert len(conversions) == 1
    assert np.array_equal(first, second)
    rgb = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)
    with torch.inference_mode():
        np.testing.assert_allclose(first, network(torch.from_numpy(rgb)).numpy(), atol=1e-5)


def test_what_ships_gives_today_what_it_gave(cache):
    """The risk of the shipped networks does not move with the way that they are converted."""
    nuclei, mil = (load_model_folder(default_model_dir(kind), kind) for kind in ("nuclei", "mil"))
    networks = Networks(mil, nuclei)
    network = networks.build()
    rgb = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3)).astype(np.uint8)
    found = compiled(openvino_graph(networks.build, networks.identity, rgb.shape))([rgb])
    with torch.inference_mode():
        logits, fraction = (part.numpy() for part in network(torch.from_numpy(rgb)))
    np.testing.assert_allclose(np.asarray(found[0]), logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.asarray(found[1]), fraction, atol=1e-4)


def test_another_identity_or_shape_is_another_graph(cache, conversions):
    def build() -> Network:
        return Network().eval()

    for identity, shape in (("one", SHAPE), ("another", SHAPE), ("one", (1, *SHAPE[1:]))) * 2:
        openvino_graph(build, identity, shape)
    assert len(conversions) == 3


def test_another_library_or_code_of_ours_is_another_graph(cache, conversions, monkeypatch):
    network = Network().eval()
    graph_of(network)
    of_library = module.version
    monkeypatch.setattr(module, "version", lambda name: of_library(name) + "+another")
    graph_of(network)
    assert len(conversions) == 2


def test_whatever_changes_the_networks_changes_their_identity():
    mil, nuclei = (load_model_folder(default_model_dir(kind), kind) for kind in ("mil", "nuclei"))
    warmer = replace(mil.config, risk=replace(mil.config.risk, temperature=2.5))
    others = [
        Networks(replace(mil, config=warmer), nuclei),
        Networks(mil, replace(nuclei, config=replace(nuclei.config, weights_sha256="0" * 64))),
        Networks(
            mil, replace(nuclei, config=replace(nuclei.config, architecture={"name": "unet"}))
        ),
    ]
    assert len({Networks(mil, nuclei).identity, *(each.identity for each in others)}) == 4


@pytest.mark.parametrize("name", ["graph.bin", "graph.xml", "sha256"])
def test_a_damaged_graph_is_made_anew(cache, conversions, name):
    network = Network().eval()
    before = outputs(graph_of(network))
    (kept,) = cache.iterdir()
    content = bytearray((kept / name).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (kept / name).write_bytes(content)
    assert np.array_equal(outputs(graph_of(network)), before)
    assert len(conversions) == 2
    graph_of(network)
    assert len(conversions) == 2


def test_the_tests_leave_the_users_own_graphs_alone(kept_networks):
    assert module._cache() == kept_networks / "openvino"


def test_where_nothing_can_be_kept_it_is_converted_each_time(cache, conversions):
    cache.parent.write_text("a file where the folder would be", encoding="ascii")
    network = Network().eval()
    assert np.array_equal(*(outputs(graph_of(network)) for _ in range(2)))
    assert len(conversions) == 2


def test_on_a_full_disk_it_is_converted_and_nothing_is_left(cache, conversions):
    network = Network().eval()
    expected = outputs(graph_of(network, "kept"))
    (kept,) = cache.iterdir()
    with no_file_above(10):
        module._keep((b"too much for this disk", b""), cache / "another")
    assert list(cache.iterdir()) == [kept]
    assert np.array_equal(outputs(graph_of(network, "kept")), expected)
    assert len(conversions) == 1


def test_no_room_for_temporary_files_is_one_clear_line(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    graph = module.converted(Network().eval(), torch.zeros(SHAPE, dtype=torch.uint8))
    with no_file_above(100), pytest.raises(WriteError, match="set TMPDIR to another") as caught:
        module._files(graph)
    assert str(caught.value).startswith(f"{tmp_path}: the converted network cannot be written")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be made read-only on Windows")
def test_a_read_only_cache_is_no_error(cache, conversions):
    cache.mkdir(parents=True)
    cache.chmod(0o500)
    try:
        assert len(graph_of(Network().eval())) == 2
    finally:
        cache.chmod(0o700)


def test_several_runs_at_once_keep_one_whole_graph(cache):
    """By threads, since each writes as a process would: to a folder of its own, then renamed."""
    files = (b"<net/>" * 50_000, bytes(1_000_000))
    place = cache / ("a" * 64)
    with ThreadPoolExecutor(4) as pool:
        kept = list(pool.map(lambda _: module._keep(files, place), range(40)))
        found = list(pool.map(lambda _: module._stored(place), range(4)))
    assert len(kept) == 40
    assert found == [files] * 4
    assert list(cache.iterdir()) == [place]


def keep(cache, name: str, size: int = 1000):
    """A kept graph of this size that looks as if it had been used an hour ago."""
    place = cache / (name * 64)
    module._keep((b"<net/>", bytes(size - 6)), place)
    if place.exists():
        age(place, 3600)
    return place


def age(path, seconds: float) -> None:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def names(cache) -> set[str]:
    return {path.name[0] for path in cache.iterdir()}


def test_the_graph_used_longest_ago_goes_first(cache, monkeypatch):
    monkeypatch.setattr(module, "_MOST_BYTES", 5000)
    for number, size in enumerate((1000, 1000, 1000, 50)):
        age(keep(cache, "abcd"[number], size), 100 * (4 - number))
    keep(cache, "e", 1000)
    assert names(cache) == set("abcde")
    assert module._stored(cache / ("a" * 64)) is not None
    keep(cache, "f", 500)  # whole graphs have a digest as well, so there is no room for all
    assert names(cache) == set("acdef")


def test_a_graph_larger_than_all_may_be_is_kept_alone(cache, monkeypatch):
    monkeypatch.setattr(module, "_MOST_BYTES", 2500)
    keep(cache, "a")
    keep(cache, "b", 4000)
    assert names(cache) == {"b"}
    assert module._stored(cache / ("b" * 64)) is not None
    keep(cache, "c", 500)
    assert names(cache) == {"c"}


def test_graphs_take_a_tenth_of_the_free_disk_at_most(cache, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage(free))
    free = 24_000
    keep(cache, "a")
    keep(cache, "b")
    assert names(cache) == {"a", "b"}
    free = 12_000
    keep(cache, "c")  # they may be removed, so they count as free
    assert names(cache) == {"c"}
    keep(cache, "d", 2000)
    assert names(cache) == {"c"}


def test_what_killed_runs_left_is_removed_once_it_is_old(cache):
    cache.mkdir(parents=True)
    left = {name: cache / f".{'a' * 64}-{name}" for name in ("old", "now")}
    for path in left.values():
        (path / "new").mkdir(parents=True)
    age(left["old"], 2 * module._LEFTOVER_S)
    (cache / "notes.txt").touch()
    age(cache / "notes.txt", 2 * module._LEFTOVER_S)
    kept = keep(cache, "b")
    assert set(cache.iterdir()) == {left["now"], cache / "notes.txt", kept}


def test_neither_conversion_nor_torchscript_warns():
    code = (
        "import warnings; warnings.simplefilter('error', FutureWarning);"
        "warnings.simplefilter('error', DeprecationWarning);"
        "import torch; from torch import nn;"
        "from qupath_hccmil.scoring.openvino_graph import converted;"
        "from qupath_hccmil.scoring.wsinfer_export import torchscript;"
        "network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval();"
        "converted(network, torch.zeros(1, 3, 8, 8));"
        "torchscript(network, 8)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
