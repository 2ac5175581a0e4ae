"""``project commit``: results become what ``score`` writes; what doesn't fit is named and left."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from shapely.geometry import Polygon, box

from qupath_hccmil.errors import ConflictError, WriteError
from qupath_hccmil.qupath.image_data import Image
from qupath_hccmil.qupath.native import newdata
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.staleness import recorded
from qupath_hccmil.qupath.writing.transaction import Prepared
from qupath_hccmil.results import commit as commit_module
from qupath_hccmil.results.fit import in_terms_of
from qupath_hccmil.results.result_file import read_head, read_results
from tests.conftest import ROOT, qupath_dirs
from tests.qupath.conftest import QuPathProcess
from tests.qupath.faults import shim
from tests.results.conftest import IMAGES, SIDE, contents, everything, states

NATIVE = ("--engine", "native")


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


def test_a_list_that_an_open_qupath_saved_over_is_repaired(cli, cohort, folder):
    line = ("project", "commit", cohort, folder, *NATIVE, "--json")
    listed = cohort / "project.qpproj"
    before = listed.read_bytes()
    assert cli(*line).code == 0
    after = everything(cohort)
    listed.write_bytes(before)
    assert statuses(cli(*line, "--dry-run")) == dict.fromkeys(IMAGES, "up to date")
    assert listed.read_bytes() == before
    assert statuses(cli(*line)) == dict.fromkeys(IMAGES, "up to date")
    assert listed.read_bytes() == after["project.qpproj"]
    data = {name: content for name, content in after.items() if name.startswith("data/")}
    assert data.items() <= everything(cohort).items()


def test_a_list_that_cannot_be_repaired_is_told(cli, cohort, folder, monkeypatch):
    def refuse(*_):
        raise WriteError("the disk is full")

    line = ("project", "commit", cohort, folder, *NATIVE, "--json")
    listed = cohort / "project.qpproj"
    before = listed.read_bytes()
    assert cli(*line).code == 0
    listed.write_bytes(before)
    monkeypatch.setattr(NativeProject, "write_prepared", refuse)
    found = committed(cli(*line))
    assert found == dict.fromkeys(IMAGES, ("failed", "the disk is full"))


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


@pytest.fixture
def made_again(cohort, template, make_project, monkeypatch):
    """Makes the cohort again with other outlines; those that were there keep their UUIDs.

    A new project numbers them by its path, its entry and their place in it.
    """
    real = uuid.uuid5

    def make(images: dict[str, list[Polygon]], in_front: dict[str, Polygon]) -> None:
        moved = [str(list(images).index(image) + 1) for image in in_front]

        def kept(namespace: uuid.UUID, text: str) -> uuid.UUID:
            place, _, number = text.rpartition("/")
            entry = place.rpartition("::")[2]
            first = template / "project" / "project.qpproj"
            return real(namespace, f"{first}::{entry}/{int(number) - (entry in moved)}")

        monkeypatch.setattr(newdata, "uuid", SimpleNamespace(**vars(uuid) | {"uuid5": kept}))
        shutil.rmtree(cohort)
        make_project(cohort.name, images, in_front)

    return make


def test_outlines_edited_since_are_named_and_left(cli, cohort, folder, made_again):
    edited = box(SIDE, SIDE, 4 * SIDE, 2 * SIDE)
    made_again({**IMAGES, "First": [edited]}, {})
    before = states(cohort)["First"]
    ran = cli("project", "commit", cohort, folder, *NATIVE)
    assert ran.code == 3
    assert re.match(r"First: LEFT: .*: outlines were changed since it was scored: 1 ", ran.err)
    assert ran.out.splitlines()[-1] == "2 taken, 1 left."
    assert not before.results
    assert not states(cohort)["First"].results


def test_results_follow_outlines_that_have_another_place(cli, cohort, folder, tmp_path, made_again):
    """An annotation that is no tumour was added in front: places shift, the outlines do not."""
    before = [each.id for each in states(cohort)["Second"].annotations]
    made_again(IMAGES, {"Second": box(0, 0, 100, 100)})
    assert [each.id for each in states(cohort)["Second"].annotations][1:] == before
    direct = tmp_path / "direct"
    shutil.copytree(cohort, direct)
    assert cli("score", direct, *NATIVE, "--quiet").code == 0
    assert cli("project", "commit", cohort, folder, *NATIVE).code == 0
    state = states(cohort)["Second"]
    assert set(state.results.annotations) == {1, 2}
    assert [each.index for each in recorded(state).outlines] == [1, 2]
    assert contents(cohort) == contents(direct)
    assert statuses(cli("project", "commit", cohort, folder, *NATIVE, "--json")) == dict.fromkeys(
        IMAGES, "up to date"
    )


def test_results_stay_as_they_are_where_nothing_moved(cohort, folder):
    head = read_head(of_image(folder, "Second"))
    results = read_results(head)
    assert in_terms_of(results, head, states(cohort)["Second"]) is results


def test_results_of_another_slide_are_named_and_left(cli, cohort, folder):
    listed = cohort / "project.qpproj"
    (name,) = set(re.findall(r"[\w-]+\.tif", listed.read_text()))
    listed.write_text(listed.read_text().replace(name, "another.tif", 1))
    ran = cli("project", "commit", cohort, folder, *NATIVE, "--json")
    found = committed(ran)
    assert [status for status, _ in found.values()] == ["left", "taken", "taken"]
    assert "it is of another slide: uri" in found["First"][1]


@pytest.fixture
def own_results(cli, cohort, own_slide, tmp_path):
    folder = tmp_path / "own"
    line = ("score", cohort, *NATIVE, "--results", folder, "--image", "First", "--quiet")
    assert cli(*line).code == 0
    return folder


def test_results_of_a_slide_file_that_changed_are_left(cli, cohort, own_slide, own_results):
    folder = own_results
    os.utime(own_slide, (1_000_000_000, 1_000_000_000))
    found = committed(cli("project", "commit", cohort, folder, *NATIVE, "--json"))
    assert found["First"][0] == "left"
    assert "was changed since it was scored" in found["First"][1]


def test_results_are_taken_where_the_slides_are_not(cli, cohort, own_slide, own_results):
    """The machine that commits need not see the slides."""
    own_slide.unlink()
    assert cli("project", "commit", cohort, own_results, *NATIVE).code == 0
    assert states(cohort)["First"].results


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


def test_a_result_with_a_flipped_byte_is_not_taken(cli, cohort, folder):
    """The file opens and has the right size: the checksums of its pages tell."""
    path = of_image(folder, "First")
    content = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(1)
    content[column.dictionary_page_offset + column.total_compressed_size - 1] ^= 1
    path.write_bytes(content)
    found = committed(cli("project", "commit", cohort, folder, *NATIVE, "--json"))
    assert found["First"][0] == "failed"
    assert "delete it and score the slide again" in found["First"][1]
    assert [found[image][0] for image in ("Second", "Third")] == ["taken", "taken"]


def test_a_folder_that_is_not_there_is_one_line(cli, cohort, tmp_path):
    ran = cli("project", "commit", cohort, tmp_path / "none", *NATIVE)
    assert ran.code == 1
    assert ran.err.startswith(f"Error: {tmp_path / 'none'}: there is no such folder")


def test_an_image_saved_meanwhile_costs_only_itself(cli, cohort, folder, monkeypatch):
    """QuPath saves one image of a group that is prepared; it is then looked at again."""
    real = NativeProject.write_prepared
    data = cohort / "data" / "2" / "data.qpdata"
    other = (cohort / "data" / "3" / "data.qpdata").read_bytes()

    def meanwhile(self, images, prepare, classes):
        def saved(besides):
            yield from prepare(besides)
            data.write_bytes(other)

        return real(self, images, saved if len(images) > 1 else prepare, classes)

    monkeypatch.setattr(NativeProject, "write_prepared", meanwhile)
    found = committed(cli("project", "commit", cohort, folder, *NATIVE, "--json"))
    assert [status for status, _ in found.values()] == ["taken", "left", "taken"]
    assert "outlines were changed since it was scored" in found["Second"][1]
    assert data.read_bytes() == other


def test_of_a_group_that_cannot_be_written_halves_are_tried(cli, cohort, folder, monkeypatch):
    """The list of a large project is long, so that each try costs."""
    real, tried = NativeProject.write_prepared, []

    def fail_second(self, images, *rest):
        tried.append([each.entry.name for each in images])
        if "Second" in tried[-1]:
            raise WriteError("Second: refused")
        return real(self, images, *rest)

    monkeypatch.setattr(NativeProject, "write_prepared", fail_second)
    found = committed(cli("project", "commit", cohort, folder, *NATIVE, "--json"))
    assert [status for status, _ in found.values()] == ["taken", "failed", "taken"]
    assert tried == [[*IMAGES], ["First"], ["Second", "Third"], ["Second"], ["Third"]]


def test_groups_are_written_one_after_the_other(cli, cohort, folder, monkeypatch):
    monkeypatch.setattr(commit_module, "GROUP_IMAGES", 2)
    counts = []
    real = NativeProject.write_prepared

    def counted(self, images, *rest):
        counts.append(len(images))
        return real(self, images, *rest)

    monkeypatch.setattr(NativeProject, "write_prepared", counted)
    assert cli("project", "commit", cohort, folder, *NATIVE).code == 0
    assert counts == [2, 1]
    assert all(state.results for state in states(cohort).values())


def test_where_nothing_is_taken_the_class_list_stays(cli, cohort, folder):
    for path in folder.glob("*.parquet"):
        path.write_bytes(b"no parquet")
    before = everything(cohort)
    assert set(statuses(cli("project", "commit", cohort, folder, *NATIVE, "--json")).values()) == {
        "left"
    }
    assert everything(cohort) == before


def test_an_image_whose_data_are_gone_costs_only_itself(cli, cohort, folder):
    shutil.rmtree(cohort / "data" / "2")
    found = committed(cli("project", "commit", cohort, folder, *NATIVE, "--json"))
    assert [status for status, _ in found.values()] == ["taken", "left", "taken"]
    assert not (cohort / "data" / "2").exists()


def prepared(project, folder):
    """Prepares images as a commit does; the last with the given stamp of what it replaces."""

    def prepare(besides, before):
        entries = project.images
        for entry, beside in zip(entries, besides, strict=True):
            image = Image(project.files_of(entry), project.open_file)
            results = read_results(read_head(of_image(folder, entry.name)))
            data, summary = image.write_beside(results, beside)
            if entry is entries[-1]:
                data = data._replace(**before)
            yield Prepared((data, summary), results.metadata)

    return prepare


@pytest.mark.parametrize(
    ("stamps", "error"),
    [({"before": "0" * 64}, ConflictError), ({"after": "0" * 64}, WriteError)],
)
def test_several_images_are_written_all_or_none(cohort, folder, stamps, error):
    """The last was saved meanwhile; or its new file is not what was prepared."""
    before = everything(cohort)
    with NativeProject(cohort) as project:
        prepare = prepared(project, folder)
        images = [project.files_of(entry) for entry in project.images]
        with pytest.raises(error):
            project.write_prepared(images, lambda besides: prepare(besides, stamps))
        assert not any(entry.metadata for entry in project.images)
    assert everything(cohort) == before


@pytest.fixture(scope="module")
def killed_writes(tmp_path_factory, template):
    """Kills a kind of write at its calls and looks; in memory where there is one: it is sooner."""
    built = shim.build(tmp_path_factory.mktemp("faults"))
    if built is None:
        pytest.skip("no C compiler on Linux: the library that makes calls fail cannot be made")
    memory = Path("/dev/shm")

    def run(what: str, step: int) -> dict:
        with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as top:
            line = [what, template / "project", template / "results", top, step]
            done = subprocess.run(
                [sys.executable, Path(__file__).with_name("killed_writes.py"), *map(str, line)],
                env={**os.environ, "LD_PRELOAD": str(built), "PYTHONPATH": str(ROOT)},
                capture_output=True, text=True, check=False,
            )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    return run


EVERY = os.environ.get("HCCMIL_FAULTS") == "all"


def test_a_commit_killed_at_any_call_is_completed_by_the_same_command(killed_writes):
    found = killed_writes("commit", 1 if EVERY else 17)
    assert not found["wrong"]
    assert found["kills"] > 10
    assert {0, len(IMAGES)} <= set(found["states"])


def test_a_commit_by_several_processes_killed_at_any_call_is_completed_too(killed_writes):
    """The one that writes is killed, and the others end with it."""
    found = killed_writes("commit-by-two", 17 if EVERY else 61)
    assert not found["wrong"]
    assert found["kills"] > 2


def test_a_result_whose_write_is_killed_is_whole_or_not_there(killed_writes):
    found = killed_writes("result", 1)
    assert not found["wrong"]
    assert found["kills"] > 4


@pytest.fixture
def qupath():
    installed = qupath_dirs()
    if not installed:
        pytest.skip("no QuPath: set PAQUO_QUPATH_DIR or install it as /opt/QuPath-*")
    process = QuPathProcess(installed[-1])
    yield process
    process.close()


@pytest.mark.qupath
def test_qupath_itself_takes_results_in(cohort, folder, tmp_path, qupath):
    """The same folder by paquo and by the native engine: both projects hold the same."""
    native = tmp_path / "native"
    shutil.copytree(cohort, native)
    qupath("command", ["project", "commit", str(cohort), str(folder), "--engine", "paquo"])
    qupath("command", ["project", "commit", str(native), str(folder), "--engine", "native"])
    for name, state in states(native).items():
        other = states(cohort)[name]
        assert other.results.annotations == state.results.annotations
        assert other.results.root == state.results.root
        assert other.results.step == state.results.step
        assert other.results.tiles.keys() == state.results.tiles.keys()
        assert all(
            (other.results.tiles[key].bounds == tiles.bounds).all()
            for key, tiles in state.results.tiles.items()
        )
    told = qupath("command", ["project", "check", str(cohort), "--engine", "paquo"])
    assert told == "sound\n"


@pytest.mark.qupath
def test_several_processes_with_qupath_write_what_one_writes(cohort, folder, tmp_path, qupath):
    alone = tmp_path / "alone"
    shutil.copytree(cohort, alone)
    line = [str(folder), "--engine", "paquo"]
    qupath("command", ["project", "commit", str(alone), *line])
    told = qupath("command", ["project", "commit", str(cohort), *line, "--workers", "2"])
    assert told.endswith("3 taken.\n")
    assert contents(cohort) == contents(alone)
