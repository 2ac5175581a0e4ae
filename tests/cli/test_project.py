"""``project``: info, check and their warnings."""

import json
import shutil
from dataclasses import replace

from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.create_project import NewImage, create_project
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.staleness import recorded

NATIVE = ("--engine", "native")


def test_info_tells_what_is_scored_and_what_is_stale(cli, project):
    assert "not scored" in cli("project", "info", project, *NATIVE).out
    cli("score", project, *NATIVE, "--quiet")
    told = cli("project", "info", project, *NATIVE)
    assert "scored: risk 0." in told.out
    assert "STALE" not in told.out
    with NativeProject(project) as opened:
        (entry,) = opened.images
        state = opened.read(entry)
        record = replace(recorded(state), fingerprint="of other outlines")
        step = replace(state.results.step, parameters={names.STEP_RECORD: record.to_parameter()})
        opened.write(entry, replace(state.results, step=step), state.stamp)
    assert "STALE" in cli("project", "info", project, *NATIVE).out
    (image,) = json.loads(cli("project", "info", project, *NATIVE, "--json").out)["images"]
    assert image["stale"] is True
    assert image["classes"] == {"Tumor": sum(image["classes"].values())}


def test_info_of_some_images(cli, drawn_demo, tmp_path):
    (slide,) = (drawn_demo / "slides").glob("*.tif")
    two = [NewImage(slide, name, 3000, 2400, 0.25) for name in ("one", "two")]
    create_project(tmp_path / "project", two)

    def told(*chosen: str) -> list[tuple[str, str]]:
        ran = cli("project", "info", tmp_path / "project", *NATIVE, "--json", *chosen)
        return [(each["id"], each["name"]) for each in json.loads(ran.out)["images"]]

    assert told() == [("1", "one"), ("2", "two")]
    assert told("--image", "id:2") == [("2", "two")]
    unknown = cli("project", "info", tmp_path / "project", *NATIVE, "--image", "three")
    assert "no image is named three" in unknown.err


def test_check_names_a_missing_slide_and_a_damaged_file(cli, drawn_demo, tmp_path):
    (made,) = (drawn_demo / "slides").glob("*.tif")
    slide = tmp_path / "first" / made.name
    slide.parent.mkdir()
    shutil.copy(made, slide)
    project = tmp_path / "project"
    create_project(project, [NewImage(slide, slide.name, 3000, 2400, 0.25)])
    assert cli("project", "check", project, *NATIVE).out == "sound\n"
    (tmp_path / "found").mkdir()
    slide.rename(tmp_path / "found" / slide.name)
    ran = cli("project", "check", project, *NATIVE)
    assert ran.code == 3
    assert slide.name in ran.out
    assert cli("project", "check", project, *NATIVE, "--slides", tmp_path / "found").code == 0
    data = project / "data" / "1" / "data.qpdata"
    data.write_bytes(data.read_bytes()[:-20])
    ran = cli("project", "check", project, *NATIVE, "--slides", tmp_path / "found")
    assert ran.code == 3
    assert "data.qpdata" in ran.out


def test_scoring_changes_nothing_that_is_not_ours(cli, project, tmp_path):
    before = tmp_path / "before"
    shutil.copytree(project, before)
    cli("score", project, *NATIVE, "--quiet")
    ran = cli("project", "check", project, "--against", before)
    assert (ran.code, ran.out) == (0, "no difference\n")


def test_restore_lists_its_backups(cli, project):
    for _ in range(2):
        cli("score", project, *NATIVE, "--quiet")
    listed = cli("project", "restore", project, "--list").out.splitlines()
    assert len(listed) == 2
    cli("project", "restore", project)
    assert "(undone)" in cli("project", "restore", project, "--list").out


def test_slides_that_moved_with_the_project_are_found(cli, project, tmp_path):
    moved = tmp_path / "moved"
    project.parent.rename(moved)
    assert cli("score", moved / project.name, *NATIVE, "--quiet").code == 0
