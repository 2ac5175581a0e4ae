"""``project commit``: results become what ``score`` writes; what doesn't fit is named and left."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from shapely.geometry import box

from qupath_hccmil.qupath.create_project import NewAnnotation
from qupath_hccmil.qupath.data_types import ImageResults
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.staleness import recorded
from qupath_hccmil.results import commit as commit_module
from qupath_hccmil.results.fit import in_terms_of
from qupath_hccmil.results.result_file import read_head, read_results
from tests.conftest import ROOT, qupath_dirs
from tests.qupath.conftest import QuPathProcess
from tests.results.conftest import IMAGES, SIDE, contents, everything, states

NATIVE = ("--engine", "native")


@pytest.fixture
def folder(cli, cohort, tmp_path) -> Path:
    """Results of the cohort."""
    folder = tmp_path / "results"
    assert cli("score", cohort, *NATIVE, "--results", folder, "--quiet").code == 0
    return folder


def committed(ran) -> dict[str, tuple[str, str]]:
    assert ran.code in (0, 3), ran.err
    return {
        each["image"]: (each["status"], each["reason"]) for each in json.loads(ran.out)["images"]
    }


def statuses(ran) -> dict[str, str]:
    return {image: status for image, (status, _) in committed(ran).items()}


def of_image(folder: Path, image: str) -> Path:
    (path,) = folder.glob(f"*-{image}-*.parquet")
    return path


def test_a_project_gets_what_score_writes_byte_for_byte(cli, cohort, folder, tmp_path):
    direct = tmp_path / "direct"
    shutil.copytree(cohort, direct)
    assert cli("score", direct, *NATIVE, "--quiet").code == 0
    ran = cli("project", "commit", cohort, folder, *NATIVE, "--json")
    assert statuses(ran) == dict.fromkeys(IMAGES, "taken")
    assert contents(cohort) == contents(direct)
    assert cli("project", "check", cohort, "--against", direct).out == "no difference\n"
    assert cli("project", "check", cohort, *NATIVE).out == "sound\n"


def test_what_was_committed_is_not_written_again(cli, cohort, folder):
    line = ("project", "commit", cohort, folder, *NATIVE, "--json")
    assert cli(*line).code == 0
    before = everything(cohort)
    assert statuses(cli(*line)) == dict.fromkeys(IMAGES, "up to date")
    assert everything(cohort) == before
    resumed = json.loads(cli("score", cohort, *NATIVE, "--resume", "--json").out)
    assert {image["status"] for image in resumed["images"]} == {"up to date"}


def test_a_dry_run_writes_nothing(cli, cohort, folder):
    before = everything(cohort)
    ran = cli("project", "commit", cohort, folder, *NATIVE, "--dry-run", "--json")
    assert statuses(ran) == dict.fromkeys(IMAGES, "would be taken")
    assert everything(cohort) == before


def test_it_can_be_undone(cli, cohort, folder):
    before = contents(cohort)
    assert cli("project", "commit", cohort, folder, *NATIVE).code == 0
    assert cli("project", "restore", cohort).code == 0
    assert contents(cohort) == before


def test_outlines_edited_since_are_named_and_left(cli, cohort, folder, make_project):
    shutil.rmtree(cohort)
    edited = box(SIDE, SIDE, 4 * SIDE, 2 * SIDE)
    make_project("project", {**IMAGES, "First": [edited]})
    before = states(cohort)["First"]
    ran = cli("project", "commit", cohort, folder, *NATIVE)
    assert ran.code == 3
    assert re.match(r"First: LEFT: .*: outlines were changed since it was scored: 1 ", ran.err)
    assert len(ran.err.splitlines()) == 3  # the other outlines have new UUIDs, so they are new
    assert not before.results
    assert not states(cohort)["First"].results


def with_other_annotations(project: Path, image: str, more: list[NewAnnotation]) -> None:
    """Put annotations in front of an image's own, as QuPath does when others are drawn."""
    from qupath_hccmil.qupath.create_project import NewImage, create_project

    with NativeProject(project) as opened:
        (entry,) = [each for each in opened.images if each.name == image]
        own = opened.read(entry).annotations
    scratch = project.parent / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    kept = [
        NewAnnotation(each.geometry, each.class_name, each.name or "", id=each.id) for each in own
    ]
    (slide,) = (project.parent / "slides").iterdir()
    create_project(scratch, [NewImage(slide, image, 3000, 2400, 0.25, annotations=[*more, *kept])])
    shutil.copy(
        scratch / "data" / "1" / "data.qpdata", project / "data" / entry.id / "data.qpdata"
    )


def test_results_follow_outlines_that_have_another_place(cli, cohort, folder, tmp_path):
    """Annotations that are no tumour were added in front: the places shift, the outlines do not."""
    stroma = NewAnnotation(box(0, 0, 100, 100), "Stroma", "Added")
    with_other_annotations(cohort, "Second", [stroma])
    direct = tmp_path / "direct"
    shutil.copytree(cohort, direct)
    assert cli("score", direct, *NATIVE, "--quiet").code == 0
    assert cli("project", "commit", cohort, folder, *NATIVE).code == 0
    state = states(cohort)["Second"]
    assert set(state.results.annotations) == {1, 2}
    assert [each.index for each in recorded(state).outlines] == [1, 2]
    assert contents(cohort) == contents(direct)


def test_results_stay_as_they_are_where_nothing_moved(cohort, folder):
    head = read_head(of_image(folder, "Second"))
    results = read_results(head)
    assert in_terms_of(results, head, states(cohort)["Second"]) is results


def test_results_of_another_slide_are_named_and_left(cli, cohort, folder):
    listed = cohort / "project.qpproj"
    (slide,) = (cohort.parent / "slides").iterdir()
    shutil.copy(slide, slide.with_name("another.tif"))
    text = listed.read_text()
    listed.write_text(text.replace(slide.name, "another.tif", 1))
    ran = cli("project", "commit", cohort, folder, *NATIVE, "--json")
    found = committed(ran)
    assert [status for status, _ in found.values()] == ["left", "taken", "taken"]
    assert "it is of another slide: uri" in found["First"][1]


def test_results_of_a_slide_file_that_changed_are_left(cli, cohort, folder):
    (slide,) = (cohort.parent / "slides").iterdir()
    os.utime(slide, (1_000_000_000, 1_000_000_000))
    found = committed(cli("project", "commit", cohort, folder, *NATIVE, "--json"))
    assert all(status == "left" for status, _ in found.values())
    assert "was changed since it was scored" in found["First"][1]


def test_results_are_taken_where_the_slides_are_not(cli, cohort, folder):
    """The machine that commits need not see the slides."""
    shutil.rmtree(cohort.parent / "slides")
    assert cli("project", "commit", cohort, folder, *NATIVE).code == 0
    assert all(state.results for state in states(cohort).values())


def test_results_of_another_model_are_named_and_left(cli, cohort, folder, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(ROOT / "models" / "hcc-risk-surrogate", model)
    config = json.loads((model / "config.json").read_text())
    config["risk"]["threshold"] = 0.1
    (model / "config.json").write_text(json.dumps(config))
    line = ("project", "commit", cohort, folder, *NATIVE, "--json")
    found = committed(cli(*line, "--model", model))
    assert all("it is by another model" in reason for _, reason in found.values())
    only = ("--image", "First")
    score = ("score", cohort, *NATIVE, "--results", folder, *only, "--quiet", "--model", model)
    assert cli(*score).code == 0
    status, reason = committed(cli(*line, *only))["First"]
    assert status == "left"
    assert "2 results of different models or settings fit" in reason
    assert statuses(cli(*line, *only, "--model", model)) == {"First": "taken"}
    assert recorded(states(cohort)["First"]).threshold == 0.1


def test_a_result_that_is_older_than_what_the_image_holds_is_left(cli, cohort, folder):
    head = read_head(of_image(folder, "First"))
    with NativeProject(cohort) as project:
        state = project.read(project.images[0])
        results = read_results(head)
        later = replace(head.record, time="2999-01-01T00:00:00+00:00")
        step = replace(
            results.step, parameters={**results.step.parameters, "record": later.to_parameter()}
        )
        project.write(state.entry, replace(results, step=step), state.stamp)
    line = ("project", "commit", cohort, folder, *NATIVE, "--json", "--image", "First")
    status, reason = committed(cli(*line))["First"]
    assert status == "left"
    assert "but the image was scored at 2999" in reason
    assert statuses(cli(*line, "--force")) == {"First": "taken"}


def test_an_image_that_lost_tiles_gets_its_result_again(cli, cohort, folder):
    line = ("project", "commit", cohort, folder, *NATIVE, "--json", "--image", "Second")
    cli(*line)
    with NativeProject(cohort) as project:
        (entry,) = [each for each in project.images if each.name == "Second"]
        state = project.read(entry)
        key, part = next(iter(state.results.tiles.items()))
        fewer = part.rows(part.bounds[:, 0] > part.bounds[:, 0].min())
        tiles = {**state.results.tiles, key: fewer}
        project.write(entry, replace(state.results, tiles=tiles), state.stamp)
    assert statuses(cli(*line)) == {"Second": "taken"}


def test_images_without_a_result_are_told(cli, cohort, folder):
    of_image(folder, "Third").unlink()
    ran = cli("project", "commit", cohort, folder, *NATIVE)
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == "2 taken, 1 no result."


def test_a_damaged_result_is_named_and_left(cli, cohort, folder):
    of_image(folder, "First").write_bytes(b"no parquet")
    found = committed(cli("project", "commit", cohort, folder, *NATIVE, "--json"))
    assert found["First"][0] == "left"
    assert "delete it and score the slide again" in found["First"][1]
    assert found["Second"][0] == "taken"


def test_a_folder_that_is_not_there_is_one_line(cli, cohort, tmp_path):
    ran = cli("project", "commit", cohort, tmp_path / "none", *NATIVE)
    assert ran.code == 1
    assert ran.err.startswith(f"Error: {tmp_path / 'none'}: there is no such folder")


def test_an_image_saved_meanwhile_costs_only_itself(cli, cohort, folder, monkeypatch):
    """QuPath saves one image of a group that is about to be written."""
    real = NativeProject.write_all
    data = cohort / "data" / "2" / "data.qpdata"
    other = (cohort / "data" / "3" / "data.qpdata").read_bytes()

    def meanwhile(self, changes):
        if len(changes) > 1:
            data.write_bytes(other)
        return real(self, changes)

    monkeypatch.setattr(NativeProject, "write_all", meanwhile)
    found = committed(cli("project", "commit", cohort, folder, *NATIVE, "--json"))
    assert [status for status, _ in found.values()] == ["taken", "failed", "taken"]
    assert "was changed by another program" in found["Second"][1]
    assert data.read_bytes() == other


def test_groups_are_written_one_after_the_other(cli, cohort, folder, monkeypatch):
    monkeypatch.setattr(commit_module, "GROUP_IMAGES", 2)
    counts = []
    real = NativeProject.write_all

    def counted(self, changes):
        counts.append(len(changes))
        return real(self, changes)

    monkeypatch.setattr(NativeProject, "write_all", counted)
    assert cli("project", "commit", cohort, folder, *NATIVE).code == 0
    assert counts == [2, 1]
    assert all(state.results for state in states(cohort).values())


def test_several_images_are_written_all_or_none(cohort, folder):
    from qupath_hccmil.errors import ConflictError
    from qupath_hccmil.qupath.project_folder import ImageChange

    before = everything(cohort)
    with NativeProject(cohort) as project:
        changes = []
        for entry in project.images:
            state = project.read(entry)
            results = read_results(read_head(of_image(folder, entry.name)))
            changes.append(ImageChange(entry, results, state.stamp))
        changes[-1] = replace(changes[-1], stamp="0" * 64)
        with pytest.raises(ConflictError):
            project.write_all(changes)
    assert everything(cohort) == before
    assert not changes[0].results == ImageResults()


KILLED = """
import sys
from pathlib import Path
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.results.commit import commit_results
print("ready", flush=True)
with NativeProject(Path(sys.argv[1])) as project:
    for _ in commit_results(project, Path(sys.argv[2])):
        pass
"""


def test_a_commit_that_is_killed_is_completed_by_the_same_command(cli, cohort, folder, tmp_path):
    """Killed at moments all over the write; then the project is what an undisturbed one is."""
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(cohort, undisturbed)
    assert cli("project", "commit", undisturbed, folder, *NATIVE).code == 0
    killed = 0
    for delay in (0.0, 0.01, 0.02, 0.04, 0.08):
        copy = tmp_path / f"killed-{delay}"
        shutil.copytree(cohort, copy)
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, copy, folder],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        process.stdout.close()
        assert cli("project", "commit", copy, folder, *NATIVE).code == 0
        assert contents(copy) == contents(undisturbed)
    assert killed


@pytest.fixture
def qupath():
    installed = qupath_dirs()
    if not installed:
        pytest.skip("no QuPath: set PAQUO_QUPATH_DIR or install it as /opt/QuPath-*")
    process = QuPathProcess(installed[-1])
    yield process
    process.close()


@pytest.mark.qupath
def test_qupath_itself_takes_results_in_as_it_scores(cli, cohort, folder, tmp_path, qupath):
    direct = tmp_path / "direct"
    shutil.copytree(cohort, direct)
    paquo = ["--engine", "paquo", "--quiet"]
    qupath("command", ["score", str(direct), *paquo])
    qupath("command", ["project", "commit", str(cohort), str(folder), *paquo])
    for name, state in states(direct).items():
        other = states(cohort)[name]
        # a process that scores by itself fits the stain fully, the results here roughly
        assert other.results.annotations.keys() == state.results.annotations.keys()
        assert other.results.root["HCC-MIL: Slide tiles"] == len(
            read_results(read_head(of_image(folder, name))).tiles[0].bounds
        ) or len(other.results.tiles) > 1
    assert cli("project", "check", cohort, "--against", direct).out == "no difference\n"
