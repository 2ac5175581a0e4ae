"""``score --results``: one file a slide, nothing done twice, the projects as they were."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from qupath_hccmil.cli.score import _told_apart
from qupath_hccmil.errors import WriteError
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.results import result_file
from qupath_hccmil.results.result_file import read_head, read_results
from qupath_hccmil.results.slide_stamp import slide_stamp
from qupath_hccmil.results.slide_tasks import Shard, project_paths, slide_tasks
from tests.results.conftest import IMAGES, everything, states

NATIVE = ("--engine", "native")


def statuses(ran) -> dict[str, str]:
    assert ran.code in (0, 3), ran.err
    return {row["image"]: row["status"] for row in json.loads(ran.out)["images"]}


def results_in(folder: Path) -> dict[str, Path]:
    """Result files by the name of their image."""
    return {read_head(path).depends_on.entry["name"]: path for path in folder.glob("*.parquet")}


def test_each_slide_becomes_one_file_and_the_project_is_not_touched(cli, cohort, tmp_path):
    before = everything(cohort)
    folder = tmp_path / "results"
    ran = cli("score", cohort, *NATIVE, "--results", folder, "--json")
    assert statuses(ran) == dict.fromkeys(IMAGES, "scored")
    assert everything(cohort) == before
    assert sorted(p.name for p in cohort.iterdir()) == sorted({p.split("/")[0] for p in before})
    assert results_in(folder).keys() == IMAGES.keys()
    left = {path.name for path in folder.iterdir()} - {p.name for p in results_in(folder).values()}
    assert left == {"run.json"}


def test_a_file_holds_what_score_writes_to_the_bit(cli, cohort, tmp_path):
    folder = tmp_path / "results"
    cli("score", cohort, *NATIVE, "--results", folder, "--image", "Second")
    head = read_head(results_in(folder)["Second"])
    found = read_results(head)
    cli("score", cohort, *NATIVE, "--image", "Second", "--quiet")
    state = states(cohort)["Second"]
    assert list(found.annotations) == [each.index for each in state.annotations]
    assert found.metadata == {k: v for k, v in state.entry.metadata.items() if k in names.LISTED}
    for key, tiles in state.results.tiles.items():
        assert np.array_equal(tiles.bounds, found.tiles[key].bounds)
        assert list(tiles.class_names) == list(found.tiles[key].class_names)
        for name, values in tiles.measurements.items():
            # QuPath's files keep 32 bits of them
            assert np.array_equal(
                values.astype("f4"), found.tiles[key].measurements[name].astype("f4")
            )
    assert found.root == pytest.approx(state.results.root, rel=1e-7)


def test_any_reader_of_parquet_finds_tiles_outlines_and_provenance(cli, cohort, tmp_path):
    folder = tmp_path / "results"
    cli("score", cohort, *NATIVE, "--results", folder, "--image", "Second")
    table = pq.read_table(results_in(folder)["Second"])
    assert len(table) == 3
    assert {"outline", "x", "y", "width", "height", "class", names.TILE_RISK} <= set(
        table.column_names
    )
    about = json.loads(table.schema.metadata[b"qupath-hccmil"])
    assert [each["geometry"]["type"] for each in about["outlines"]] == ["Polygon", "Polygon"]
    assert about["depends_on"]["versions"].keys() >= {"qupath-hccmil", "numpy"}
    assert "not for diagnosis" in about["note"]


def test_a_long_name_in_any_script_has_a_file_and_is_found(cli, make_project, tmp_path):
    name = "肝細胞癌の切片" * 20
    project = make_project("long", {name: IMAGES["First"]})
    folder = tmp_path / "results"
    assert statuses(cli("score", project, *NATIVE, "--results", folder, "--json")) == {
        name: "scored"
    }
    ran = cli("project", "commit", project, folder, *NATIVE, "--json")
    assert ran.code == 0, ran.err
    assert states(project)[name].results


def test_what_is_there_is_not_done_again(cli, cohort, tmp_path):
    folder = tmp_path / "results"
    line = ("score", cohort, *NATIVE, "--results", folder, "--json")
    cli(*line, "--image", "First")
    before = results_in(folder)["First"].stat()
    assert statuses(cli(*line)) == {"First": "up to date", "Second": "scored", "Third": "scored"}
    after = results_in(folder)["First"].stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    # of the run that scored it, not of the one that found it
    rows = {row["image"]: row for row in json.loads((folder / "run.json").read_text())["images"]}
    assert {row["status"] for row in rows.values()} == {"scored"}


def test_a_damaged_file_is_written_again(cli, cohort, tmp_path):
    folder = tmp_path / "results"
    line = ("score", cohort, *NATIVE, "--results", folder, "--json", "--image", "First")
    cli(*line)
    path = results_in(folder)["First"]
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"not parquet at all"):
        path.write_bytes(damaged)
        assert statuses(cli(*line)) == {"First": "scored"}
        assert read_head(path).record.tiles == 2


@pytest.mark.parametrize(
    "other", [("--min-inside", "0.9"), ("--max-tiles", "1"), ("--mpp", "0.26")], ids=str
)
def test_other_settings_are_another_result(cli, cohort, tmp_path, other):
    folder = tmp_path / "results"
    line = ("score", cohort, *NATIVE, "--results", folder, "--json", "--image", "First")
    cli(*line)
    assert statuses(cli(*line, *other)) == {"First": "scored"}
    assert len(list(folder.glob("*.parquet"))) == 2


def test_another_slide_file_is_another_result(cli, cohort, own_slide, tmp_path):
    folder = tmp_path / "results"
    line = ("score", cohort, *NATIVE, "--results", folder, "--json", "--image", "First")
    cli(*line)
    os.utime(own_slide, (1_000_000_000, 1_000_000_000))
    assert statuses(cli(*line)) == {"First": "scored"}


def test_a_slide_that_changes_while_it_is_scored_leaves_no_result(
    cli, cohort, own_slide, tmp_path, monkeypatch
):
    from qupath_hccmil.scoring import score_project as batch

    real = batch.score_slide

    def meanwhile(*arguments, **settings):
        os.utime(own_slide, (1_000_000_000, 1_000_000_000))
        return real(*arguments, **settings)

    monkeypatch.setattr(batch, "score_slide", meanwhile)
    folder = tmp_path / "results"
    ran = cli("score", cohort, *NATIVE, "--results", folder, "--image", "First")
    assert ran.code == 3
    assert "was changed while it was scored" in ran.err
    assert not list(folder.glob("*.parquet"))


def test_a_full_disk_leaves_nothing_behind(cli, cohort, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(result_file.pq, "write_table", full)
    folder = tmp_path / "results"
    ran = cli("score", cohort, *NATIVE, "--results", folder, "--image", "First")
    assert ran.code == 3
    assert "No space left on device" in ran.err
    assert {path.name for path in folder.iterdir()} == {"run.json"}


def test_a_killed_run_is_not_ended_by_one_that_only_reads(cohort, monkeypatch):
    """Not even where a run of ours left something half done: other readers are at work."""
    from qupath_hccmil.qupath import project_folder

    asked = []
    monkeypatch.setattr(project_folder, "recover_before_reading", asked.append)
    NativeProject(cohort, recover=False)
    assert not asked
    NativeProject(cohort)
    assert asked


def test_shards_are_all_slides_each_once(cli, cohort, make_project, tmp_path):
    other = make_project("other", {"Fourth": IMAGES["First"], "Fifth": IMAGES["Third"]})
    folder = tmp_path / "results"
    found = [
        statuses(
            cli("score", cohort, other, *NATIVE, "--results", folder, "--shard", part, "--json")
        )
        for part in ("1/2", "2/2")
    ]
    assert sorted(len(each) for each in found) == [2, 3]
    assert found[0].keys() | found[1].keys() == {*IMAGES, "Fourth", "Fifth"}
    assert {"run-1-of-2.json", "run-2-of-2.json"} <= {path.name for path in folder.iterdir()}


def test_a_project_that_one_machine_cannot_read_moves_no_slide_to_another_part(
    cohort, make_project, tmp_path
):
    others = [make_project(name, IMAGES) for name in ("second", "third")]
    moved = others[0].rename(tmp_path / "away")
    projects = [cohort, *others]
    for number in (1, 2):
        without, wrong = slide_tasks(projects, (), Shard(number, 2))
        assert list(wrong) == [others[0]]
        moved.rename(others[0])
        all_of_them, _ = slide_tasks(projects, (), Shard(number, 2))
        others[0].rename(moved)
        second = others[0] / "project.qpproj"
        assert without == [task for task in all_of_them if task.project != second]


@pytest.mark.parametrize(
    ("projects", "slides", "of"),
    [(1, 1000, 40), (100, 1, 40), (100, 3, 40), (10, 5, 40), (8, 1, 8), (30, 7, 4), (3, 2, 1)],
)
def test_parts_are_all_slides_each_once_and_of_about_the_same_size(projects, slides, of):
    every = [(place, project) for project in range(projects) for place in range(slides)]
    parts = [[each for each in every if Shard(n, of).takes(*each)] for n in range(1, of + 1)]
    assert sorted(each for part in parts for each in part) == sorted(every)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 3


@pytest.mark.parametrize("text", ["0/4", "5/4", "3", "a/b", "1/0", "-1/2"])
def test_a_part_that_is_none_is_one_line(cli, cohort, tmp_path, text):
    ran = cli("score", cohort, "--results", tmp_path / "r", "--shard", text)
    assert ran.code == 2
    assert text in ran.err


def test_every_place_is_in_one_part():
    parts = [Shard(number, 7) for number in range(1, 8)]
    assert all(sum(part.takes(place) for part in parts) == 1 for place in range(50))


def test_projects_come_from_a_table_too(cli, cohort, make_project, tmp_path):
    make_project("other", {"Fourth": IMAGES["First"]})
    table = tmp_path / "projects.csv"
    table.write_text("project\nproject\nother\n")
    assert project_paths([cohort], table) == [cohort, tmp_path / "other"]
    ran = cli("score", "--projects", table, *NATIVE, "--results", tmp_path / "r", "--dry-run")
    assert ran.code == 0
    assert "4 planned" in ran.out
    assert not (tmp_path / "r").exists()


def test_a_table_without_projects_is_one_line(cli, tmp_path):
    table = tmp_path / "projects.csv"
    table.write_text("folder,note\na,b\n")
    ran = cli("score", "--projects", table)
    assert ran.code == 1
    assert "has no column 'project'" in ran.err


def test_a_project_that_is_none_costs_only_itself(cli, cohort, tmp_path):
    (tmp_path / "empty").mkdir()
    ran = cli("score", tmp_path / "empty", cohort, *NATIVE, "--results", tmp_path / "r", "--json")
    assert ran.code == 3
    assert f"{tmp_path / 'empty'}: FAILED" in ran.err
    assert len(statuses(ran)) == 3
    alone = cli("score", tmp_path / "empty", *NATIVE, "--results", tmp_path / "r")
    assert alone.code == 1


def test_several_projects_are_scored_in_one_call(cli, cohort, make_project, tmp_path):
    (tmp_path / "more").mkdir()
    other = make_project("more/project", {"Fourth": IMAGES["First"]})
    out = tmp_path / "out"
    ran = cli("score", cohort, tmp_path / "none", other, *NATIVE, "--out", out)
    assert ran.code == 3
    assert f"{tmp_path / 'none'}: FAILED" in ran.err
    assert (out / "project" / "images.csv").exists()
    assert (out / "project-2" / "images.csv").exists()
    assert all(state.results for state in (states(cohort) | states(other)).values())


def test_projects_in_folders_of_the_same_name_are_told_apart():
    for folders in (["a", "b/a", "c/a"], ["x/a-2", "a", "b/a"], ["a-3", "a", "b/a", "c/a"]):
        found = _told_apart([Path(folder) / "project.qpproj" for folder in folders])
        assert len(set(found)) == len(folders)
        assert found[0] == Path(folders[0]).name


@pytest.mark.parametrize(
    "options",
    [
        ("--results", "r", "--resume"),
        ("--results", "r", "--out", "o"),
        ("--results", "r", "--dask", "local", "--shard", "1/2"),
        ("--results", "r", "--commit", "--dry-run"),
        ("--results", "r", "--wait", "2"),
        ("--results", "r", "--workers", "2"),
        ("--results", "r", "--slide-timeout", "2"),
        ("--shard", "1/2"),
        ("--dask", "local"),
        ("--commit",),
    ],
    ids=str,
)
def test_options_that_do_not_go_together_are_refused(cli, cohort, options):
    ran = cli("score", cohort, *options)
    assert ran.code == 2
    assert options[-2 if options[-1][0] != "-" else -1] in ran.err


def test_results_are_committed_at_the_end_where_asked(cli, cohort, make_project, tmp_path):
    other = make_project("other", {"Fourth": IMAGES["First"]})
    line = ("score", cohort, other, *NATIVE, "--results", tmp_path / "r", "--commit")
    ran = cli(*line)
    assert ran.code == 0
    assert ran.out.splitlines()[-2:] == [f"{cohort}: 3 taken.", f"{other}: 1 taken."]
    assert all(state.results for state in (states(cohort) | states(other)).values())
    again = cli(*line).out.splitlines()
    assert again[-2:] == [f"{cohort}: 3 up to date.", f"{other}: 1 up to date."]


def test_a_project_that_another_run_writes_is_told_at_the_commit(cli, cohort, tmp_path):
    with NativeProject(cohort) as busy:
        busy.begin()
        line = ("score", cohort, *NATIVE, "--results", tmp_path / "r", "--commit")
        ran = cli(*line)
    assert ran.code == 3
    assert "is writing this project" in ran.err
    assert len(list((tmp_path / "r").glob("*.parquet"))) == 3


def test_a_call_without_a_project_says_so(cli):
    ran = cli("score")
    assert ran.code == 2
    assert "Missing argument 'PROJECT...'" in ran.err


def test_a_folder_that_cannot_be_written_is_told_before_any_work(cli, cohort, tmp_path):
    (tmp_path / "file").write_text("")
    ran = cli("score", cohort, *NATIVE, "--results", tmp_path / "file")
    assert ran.code == 1
    assert ran.err.startswith(f"Error: {tmp_path / 'file'}: cannot be written")


def test_files_next_to_a_slide_count_where_its_pixels_are_in_them(tmp_path):
    slide = tmp_path / "a.mrxs"
    slide.write_bytes(b"thumbnail")
    inside = tmp_path / "a"
    inside.mkdir()
    (inside / "Data0000.dat").write_bytes(b"pixels")
    before = slide_stamp(slide)
    assert (before.files, before.bytes) == (2, 15)
    (inside / "Data0000.dat").write_bytes(b"pixels, others")
    assert slide_stamp(slide) != before
    plain = tmp_path / "b.svs"
    plain.write_bytes(b"pixels")
    assert slide_stamp(plain).files == 1


def test_dicom_files_of_a_folder_are_one_slide(tmp_path):
    for name in ("1.dcm", "2.DCM", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert slide_stamp(tmp_path / "1.dcm").files == 2
    (tmp_path / "_c_").mkdir()
    (tmp_path / "_c_" / "frame.ets").write_bytes(b"xyz")
    (tmp_path / "c.vsi").write_bytes(b"v")
    assert slide_stamp(tmp_path / "c.vsi").bytes == 4


def test_the_error_of_a_folder_is_of_the_right_kind(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError):
        result_file.write_result(
            tmp_path / "file" / "x.parquet", *_of_nothing(tmp_path), tmp_path / "slide"
        )


def _of_nothing(folder):
    from qupath_hccmil.qupath.data_types import ImageResults
    from qupath_hccmil.results.dependencies import Dependencies

    shutil.rmtree(folder / "none", ignore_errors=True)
    nothing = Dependencies({"id": "1", "name": "x"}, "", {}, {}, "", {}, "float32", {})
    return nothing, [], ImageResults()


def test_the_record_of_the_run_is_written_now_and_then(cli, cohort, tmp_path, monkeypatch):
    """What a killed run had done is in it."""
    from qupath_hccmil.cli import many_slides
    from qupath_hccmil.results import slide_worker

    real = slide_worker.SlideWorker.score
    folder = tmp_path / "results"
    seen = []

    def looked(self, *arguments):
        path = folder / "run.json"
        seen.append(len(json.loads(path.read_text())["images"]) if path.exists() else 0)
        return real(self, *arguments)

    monkeypatch.setattr(slide_worker.SlideWorker, "score", looked)
    monkeypatch.setattr(many_slides, "RECORD_S", 0.0)
    assert cli("score", cohort, *NATIVE, "--results", folder, "--quiet").code == 0
    assert seen == [0, 1, 2]
