"""``score --precision``: what is recorded, and what a resume does with values of another one."""

import json
from dataclasses import replace

import pytest
from shapely.geometry import box

import qupath_hccmil as hm
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.staleness import recorded
from qupath_hccmil.results.dependencies import dependencies
from qupath_hccmil.scoring import precision, scorer
from qupath_hccmil.scoring.destination import SlideRequest
from qupath_hccmil.scoring.openvino_runtime import OpenVinoRuntime
from qupath_hccmil.scoring.score_settings import ScoreSettings
from qupath_hccmil.scoring.scorer import ScorerSource
from tests.cli.test_resume import FIRST, SECOND, SIDE, outlines, resume, state_of

__all__ = ["outlines"]
NATIVE = ("--engine", "native", "--device", "cpu")


@pytest.fixture(autouse=True)
def auto_takes_bf16(monkeypatch):
    """Whatever this processor has, bf16 is chosen and recorded; the numbers here are f32's."""
    load = OpenVinoRuntime.__init__

    def load_f32(self, networks, precision, threads=None):
        load(self, networks, "f32", threads)
        self.precision = precision

    monkeypatch.setattr(OpenVinoRuntime, "__init__", load_f32)
    monkeypatch.setattr(precision, "_has_bf16", lambda runtime, device: (True, "it is said to"))
    # Networks stay loaded in a process; neither others' come in here nor these go out.
    scorer._load.cache_clear()
    yield
    scorer._load.cache_clear()


def scored(cli, folder, *more):
    (image,) = json.loads(cli("score", folder, *NATIVE, "--json", *more).out)["images"]
    return image


def test_what_ran_is_recorded_and_shown(cli, outlines, tmp_path):
    folder = outlines([FIRST])
    out = tmp_path / "out"
    cli("score", folder, *NATIVE, "--out", out)
    facts = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert facts["model"]["nuclei_precision"] == facts["settings"]["precision"] == "bf16"
    assert facts["model"]["tile_precision"] == "f32"
    assert 'precision = "bf16"' in (out / "settings.toml").read_text(encoding="utf-8")
    assert recorded(state_of(folder)).settings["precision"] == "bf16"
    step = state_of(folder).results.step
    assert step.parameters["nuclei_precision"] == "bf16"
    assert "--precision" not in step.script
    assert ", nuclei in bf16," in cli("project", "info", folder, *NATIVE[:2]).out
    (image,) = json.loads(cli("project", "info", folder, *NATIVE[:2], "--json").out)["images"]
    assert image["precision"] == "bf16"


def test_what_was_asked_for_is_in_the_workflow_step(cli, outlines):
    folder = outlines([FIRST])
    scored(cli, folder, "--precision", "f32")
    assert recorded(state_of(folder)).settings["precision"] == "f32"
    assert '"--precision", "f32"' in state_of(folder).results.step.script


def test_scores_of_another_precision_are_up_to_date_until_an_outline_changes(cli, outlines):
    folder = outlines([FIRST, SECOND])
    scored(cli, folder, "--precision", "f32")
    assert resume(cli, folder)["status"] == "up to date"
    outlines([FIRST, box(SIDE, 2 * SIDE, 3 * SIDE, 3 * SIDE)])
    image = resume(cli, folder)
    # two precisions are never mixed in one image
    assert (image["status"], image["reused"]) == ("scored", 0)
    assert "its scores were computed in f32, and this run computes in bf16" in image["notes"][0]
    assert recorded(state_of(folder)).settings["precision"] == "bf16"


def test_with_the_precision_of_the_scores_the_changed_outline_alone_is_scored(cli, outlines):
    folder = outlines([FIRST, SECOND])
    scored(cli, folder, "--precision", "f32")
    outlines([FIRST, box(SIDE, 2 * SIDE, 3 * SIDE, 3 * SIDE)])
    image = resume(cli, folder, "--precision", "f32")
    assert image["status"] == "scored"
    assert image["reused"] > 0


def test_another_precision_that_is_asked_for_needs_force(cli, outlines):
    folder = outlines([FIRST])
    scored(cli, folder, "--precision", "f32")
    refused = scored(cli, folder, "--resume", "--precision", "bf16")
    assert "was scored with precision 'f32', not 'bf16', so it is left" in refused["reason"]
    assert resume(cli, folder, "--precision", "auto")["status"] == "up to date"
    assert resume(cli, folder, "--precision", "bf16", "--force")["status"] == "scored"
    assert recorded(state_of(folder)).settings["precision"] == "bf16"


def test_python_takes_it_too(outlines):
    folder = outlines([FIRST])
    (outcome,) = hm.score_project(folder, engine="native", device="cpu", precision="f32")
    assert outcome.status == "scored"
    assert recorded(state_of(folder)).settings["precision"] == "f32"


def test_a_result_of_another_precision_has_another_file(outlines, drawn_demo):
    folder = outlines([FIRST])
    (slide,) = (drawn_demo / "slides").glob("*.tif")
    with NativeProject(folder) as project:
        state = project.read(project.images[0])
    files = set()
    for name in ("f32", "bf16"):
        settings = replace(ScoreSettings(), precision=name)
        models = ScorerSource(device="cpu", precision=name)
        request = SlideRequest(state, state.annotations, settings, slide)
        files.add(dependencies(request, models).file_name)
    assert len(files) == 2


def test_doctor_says_what_auto_takes_and_why(cli):
    (line,) = (row for row in cli("doctor").out.splitlines() if " precision: " in row)
    assert "nuclei network bf16, tile network f32, with " in line
    assert line.endswith("it is said to")
