"""Data that are gone are said to be lost, with what was in them and where a copy is."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import shapely

from qupath_hccmil.cli.main import run
from qupath_hccmil.errors import HccMilError, ProjectError
from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.native.native_project import NativeProject
from tests.qupath.engines import NATIVE, results_for


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two images, the first with three annotations."""
    boxes = [shapely.box(10, 10, 500, 400), shapely.box(10, 10, 90, 90), shapely.box(5, 5, 50, 50)]
    annotations = [NewAnnotation(box, "Tumor", f"Nodule {n}") for n, box in enumerate(boxes)]
    images = [
        NewImage(tmp_path / f"{name}.svs", name, 1000, 800, 0.5, annotations=annotations)
        for name in ("first", "second")
    ]
    for image in images:
        image.path.touch()
    return create_project(tmp_path / "project", images).parent


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Exit code of a command line, and all that it says."""

    def call(*arguments: object) -> tuple[int, str]:
        capsys.readouterr()
        code = run([str(each) for each in (*arguments, "--engine", "native")])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return call


def data_of(project: Path, image: int = 1) -> Path:
    return project / "data" / str(image) / "data.qpdata"


def score(project: Path) -> None:
    with NativeProject(project) as opened:
        for entry in opened.images:
            state = opened.read(entry)
            opened.write(entry, results_for(state), state.stamp)


def gone(path: Path) -> None:
    path.unlink()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def with_its_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def everywhere(said, project: Path, tmp_path: Path) -> list[tuple[int, str]]:
    """What each command that reads an image says."""
    return [
        said("project", "check", project),
        said("project", "info", project),
        said("score", project, "--dry-run"),
        said("export", project, tmp_path / "out.csv"),
    ]


@pytest.mark.parametrize("lose", [gone, emptied])
def test_what_the_summary_lists_is_lost_everywhere(project, said, tmp_path, lose) -> None:
    lose(data_of(project))
    answers = everywhere(said, project, tmp_path)
    for _, text in answers:
        assert "data.qpdata: is" in text
        assert (
            "summary.json says that it had 3 annotations; restore it from your own backup" in text
        )
        assert "no annotations" not in text
        assert "sound" not in text
    assert [code for code, _ in answers] == [3, 0, 3, 3]
    # the other image is done
    rows = (tmp_path / "out.csv").read_text("utf-8-sig").splitlines()
    assert [row.split(",")[0] for row in rows] == ["image", "second"]


@pytest.mark.parametrize("lose", [gone, emptied, with_its_folder])
def test_our_backup_of_what_is_lost_is_named_and_works(project, said, tmp_path, lose) -> None:
    before = data_of(project).read_bytes()
    score(project)
    lose(data_of(project))
    for _, text in everywhere(said, project, tmp_path):
        assert "data.qpdata: is" in text
        assert "restore " in text
    code, text = said("project", "check", project)
    copy = Path(text.partition("restore ")[2].partition(" (the file before our run ")[0])
    assert copy.is_relative_to(project / "hccmil-backups")
    data_of(project).parent.mkdir(exist_ok=True)
    shutil.copy(copy, data_of(project))
    assert data_of(project).read_bytes() == before
    code, text = said("project", "check", project)
    assert (code, "data.qpdata" in text) == (3, False)
    # it is to be scored again, and that is said
    assert "the project's list differs from the image" in text


def test_a_score_in_the_list_tells_that_data_are_lost(project, said) -> None:
    score(project)
    with_its_folder(data_of(project))
    shutil.rmtree(project / "hccmil-backups")
    code, text = said("project", "check", project)
    assert code == 3
    assert (
        "data.qpdata: is missing, and the project's list says that it was scored; restore it"
        in text
    )


def test_a_copy_that_qupath_put_aside_is_named(project, said, tmp_path) -> None:
    path = data_of(project)
    path.rename(path.with_name("data.qpdata.bkp"))
    for _, text in everywhere(said, project, tmp_path):
        assert "QuPath is saving it, or was stopped while it saved" in text
        assert "which recovers it from data.qpdata.bkp" in text
    path.write_bytes(b"")
    for _, text in everywhere(said, project, tmp_path):
        assert "data.qpdata: is empty, and summary.json says that it had 3 annotations" in text
        assert "open the image in QuPath, which recovers it from its own copy" in text


def test_a_copy_of_damaged_data_is_named(project, said, tmp_path) -> None:
    score(project)
    path = data_of(project)
    path.write_bytes(path.read_bytes()[:-100])
    shutil.copy(data_of(project, 2), path.with_name("data.qpdata.bkp"))
    for _, text in everywhere(said, project, tmp_path):
        assert "(a copy: " in text
        assert str(path.with_name("data.qpdata.bkp")) in text
        assert "/data/1/data.qpdata)" in text.replace("\\", "/")


def test_a_folder_that_is_gone_is_noted_where_nothing_tells_of_data(project, said) -> None:
    with_its_folder(data_of(project))
    for answer in (said("project", "check", project), said("project", "info", project)):
        assert answer[0] == 0
        assert "does not exist; that is fine if the image was never opened in QuPath" in answer[1]
    code, text = said("score", project, "--dry-run", "--image", "first")
    assert code == 3
    assert "no annotations" in text
    assert "does not exist; that is fine if the image was never opened" in text
    assert "sound\nnote: " in said("project", "check", project)[1]


def test_an_image_that_was_never_saved_is_sound(project, said) -> None:
    data_of(project).unlink()
    data_of(project).with_name("summary.json").unlink()
    assert said("project", "check", project) == (0, "sound\n")


@pytest.mark.parametrize(
    "summary",
    [b"", b"{", b"[]", b'{"hierarchy": null}', b'{"hierarchy": {"objectTypeCounts": {"a": "b"}}}'],
)
def test_a_summary_that_says_nothing_is_no_loss(project, said, summary: bytes) -> None:
    data_of(project).unlink()
    data_of(project).with_name("summary.json").write_bytes(summary)
    assert said("project", "check", project) == (0, "sound\n")


def test_data_that_no_image_has_are_noted(project, said) -> None:
    shutil.copytree(project / "data" / "1", project / "data" / "7")
    (project / "data" / "empty").mkdir()
    code, text = said("project", "check", project)
    assert code == 0
    assert text.startswith("sound\nnote: ")
    assert (
        "data/7: these data belong to no image of the project (its summary lists 3 annotations)"
        in (text.replace("\\", "/"))
    )
    assert "(its summary lists no objects)" in text
    code, text = said("project", "info", project)
    assert "note: " in text
    code, text = said("project", "check", project, "--json")
    assert (json.loads(text)["problems"], len(json.loads(text)["notes"])) == ([], 2)
    assert len(json.loads(said("project", "info", project, "--json")[1])["notes"]) == 2


@pytest.mark.qupath
@pytest.mark.parametrize("lose", [gone, emptied])
def test_both_engines_say_the_same(project, qupath, lose) -> None:
    score(project)
    lose(data_of(project))
    told = []
    for engine in (NATIVE, qupath):
        with pytest.raises(HccMilError) as error:
            engine("read", project)
        assert isinstance(error.value, ProjectError)
        told.append(str(error.value))
    assert told[0] == told[1]
    assert "summary.json says that it had" in told[0]
