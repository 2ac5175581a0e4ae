"""``features --dask``: real worker processes, lost and hanging; files as of one process."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.blobs import blob_image
from tests.cli.conftest import cli  # noqa: F401
from tests.conftest import ROOT
from tests.drawn_slides import write_pyramid
from tests.encoders.tiny import tiny_encoder
from tests.killed_workers import MARKS

dask = pytest.importorskip("dask", reason="the extra [cluster] is not installed")
pytest.importorskip("distributed", reason="the extra [cluster] is not installed")

PRELOAD = Path(__file__).parent / "faulty_feature_worker.py"
pytestmark = MARKS


def test_files_of_workers_are_those_of_one_process_whatever_is_lost(
    cli,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    slides, out = tmp_path / "slides", tmp_path / "out"
    slides.mkdir()
    for number in range(5):
        pixels = blob_image(number, side=1100, count=900, radius=14)[0]
        write_pyramid(slides / f"s{number}.tif", pixels)
    encoder = tiny_encoder(tmp_path / "a").path
    line = ("features", slides, "--out", out, "--stain", "none", "--encoder", encoder)
    assert cli(*line, "--quiet").code == 0
    expected = {path.name: path.read_bytes() for path in (out / "tiny").glob("*.h5")}
    shutil.rmtree(out)

    faults = {
        "s0.tif": f"kill {tmp_path / 'killed'}",
        "s1.tif": "crash",
        "s2.tif": "hang",
        "s4.tif": "full",
    }
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    on_workers = (*line, "--dask", "local", "--workers", 2, "--json")
    environ = {"HCCMIL_TEST_FAULTS": json.dumps(faults)}
    with dask.config.set(
        {"distributed.worker.preload": [str(PRELOAD)], "distributed.nanny.environ": environ}
    ):
        ran = cli(*on_workers, "--slide-timeout", 10, "--retries", 1)
    assert ran.code == 3, ran.err
    found = {each["slide"]: each for each in json.loads(ran.out)["slides"]}
    assert {name: each["status"] for name, each in found.items()} == {
        "s0.tif": "computed",
        "s1.tif": "failed",
        "s2.tif": "failed",
        "s3.tif": "computed",
        "s4.tif": "failed",
    }
    tries = {name: each["tries"] for name, each in found.items()}
    assert tries == {"s0.tif": 2, "s1.tif": 2, "s2.tif": 2, "s3.tif": 1, "s4.tif": 1}
    assert all(each["worker"].startswith("tcp://") for each in found.values())
    rows = json.loads((out / "run.json").read_text())
    assert rows["cluster"]["kind"] == "local"
    assert {each["slide"]: each for each in rows["images"]} == found
    lost = "its worker was lost 2 times while its features were computed: it "
    assert found["s1.tif"]["reason"] == f"{lost}crashed or was out of memory"
    assert found["s2.tif"]["reason"] == f"{lost}took longer than 10 s"
    refused = "s4.h5: cannot be written: File too large; nothing was changed"
    assert found["s4.tif"]["reason"].endswith(refused)
    before = {path: path.stat().st_mtime_ns for path in (out / "tiny").glob("*.h5")}
    assert sorted(path.name for path in (out / "tiny").iterdir()) == [
        "features.json", "s0.h5", "s3.h5",
    ]  # fmt: skip

    ran = cli(*on_workers)
    assert ran.code == 0, ran.err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert {path.name: path.read_bytes() for path in (out / "tiny").glob("*.h5")} == expected


def test_encoder_weights_that_changed_are_noticed(tmp_path):
    from qupath_hccmil.features.feature_work import environment

    tiny_encoder(tmp_path / "a")
    where = ((str(tmp_path / "a"),), "torch", "cpu")
    before = environment(where)
    shutil.rmtree(tmp_path / "a")
    tiny_encoder(tmp_path / "a", seed=1)
    found = environment(where)
    assert [key for key in before if before[key] != found[key]] == ["encoder 1"]
