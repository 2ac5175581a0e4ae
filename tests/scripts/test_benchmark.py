"""The benchmark's rows of speed, on a few tiles: that they are measured, not how fast they are."""

import importlib
import sys

import pytest

from tests.conftest import ROOT


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "proofs"))
    module = importlib.import_module("benchmark")
    monkeypatch.setattr(module, "TURNS", 1)
    monkeypatch.setattr(module, "STACK_TILES", 1)
    yield module
    del sys.modules["benchmark"]


def test_throughput_has_its_rows(benchmark, tmp_path):
    rows = {row.name: row for row in benchmark.throughput(tmp_path, 16)}
    assert {"networks alone", "end to end", "end to end / networks alone"} <= rows.keys()
    assert "openvino, nuclei in " in rows["networks alone"].value
    assert float(rows["end to end"].value.split()[0]) > 0
    assert rows["end to end / named stack"].goal == "≥ 80"
    assert "| end to end |" in benchmark.table(list(rows.values()))
