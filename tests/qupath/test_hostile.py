"""A project from outside leads us nowhere else, and what is odd in it is kept or refused."""

import json
import shutil
from pathlib import Path

import pytest

from qupath_hccmil.errors import HccMilError, ProjectError
from qupath_hccmil.qupath import qpproj
from qupath_hccmil.qupath.names import META_GROUP
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.qpproj import summary, with_classes, with_our_metadata
from tests.conftest import ROOT
from tests.qupath.engines import NATIVE, files, results_for

SOURCE = ROOT / "tests" / "data" / "projects" / "qupath-0.6.0"
TUMOUR = "6"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SOURCE, tmp_path / "project"))


def score_one(project: Path) -> None:
    with NativeProject(project) as opened:
        [entry] = [each for each in opened.images if each.id == TUMOUR]
        state = opened.read(entry)
        opened.write(entry, results_for(state), state.stamp)


def change(project: Path, how) -> None:
    path = project / "project.qpproj"
    content = json.loads(path.read_bytes())
    how(content)
    path.write_text(json.dumps(content, ensure_ascii=False), "utf-8")


@pytest.mark.parametrize("linked", ["data", f"data/{TUMOUR}", f"data/{TUMOUR}/data.qpdata"])
def test_a_link_out_of_the_project_is_not_followed(project: Path, tmp_path: Path, linked: str):
    outside = tmp_path / "outside"
    shutil.move(project / linked, outside)
    (project / linked).symlink_to(outside)
    before = outside.read_bytes() if outside.is_file() else files(outside)
    with pytest.raises(ProjectError, match=r"link that leads out of the project, to .*outside"):
        score_one(project)
    assert (outside.read_bytes() if outside.is_file() else files(outside)) == before


def test_a_project_may_be_reached_through_a_link(project: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(project)
    score_one(tmp_path / "link")
    [state] = [each for each in NATIVE("read", project) if each.entry.id == TUMOUR]
    assert state.results.tiles


@pytest.mark.parametrize(
    "text",
    [
        '{"images": ' + "[" * 100_000,
        '{"images": ' + '{"a":' * 100_000 + "1" + "}" * 100_001,
        '{"images": [{"entryID": 1' + "0" * 5000 + "}]}",
        '{"images": null}',
        "[]",
        "",
    ],
    ids=["open", "deep", "long number", "null", "list", "empty"],
)
def test_odd_json_is_refused_in_one_line(project: Path, text: str):
    (project / "project.qpproj").write_text(text)
    with pytest.raises(ProjectError, match=r"project\.qpproj: was not written by QuPath") as error:
        NativeProject(project)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_a_builder_within_a_builder_without_end_is_refused(project: Path):
    deep = '{"builder":' * 5000 + "{}" + "}" * 5000
    (project / "project.qpproj").write_text(
        f'{{"images": [{{"entryID": 1, "serverBuilder": {deep}}}]}}'
    )
    with pytest.raises(HccMilError):
        NativeProject(project)


def test_deep_json_beside_the_data_does_no_harm(project: Path):
    deep = b'{"a":' * 100_000
    with NativeProject(project) as opened:
        assert b'"nObjects":1' in summary(deep, opened.images[0], "UNSET", {"nObjects": 1}, 0)
    with pytest.raises(ValueError, match="nested too deep"):
        with_classes(deep, {"a": 1})


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_what_an_editor_left_in_the_project_file_is_kept(project: Path, mark, newline):
    path = project / "project.qpproj"
    change(project, lambda content: content.update({"future": {"a": [1, None, 1.5]}}))
    text = json.dumps(json.loads(path.read_bytes()), indent=3, ensure_ascii=False).encode()
    before = mark + text.replace(b"\n", newline)
    path.write_bytes(before)
    score_one(project)
    after = path.read_bytes()
    assert after != before
    assert after.startswith(mark)
    assert with_our_metadata(after, {TUMOUR: {}}).count(b"HCC-MIL") == 0
    scored = json.loads(after.decode("utf-8-sig"))
    assert scored["future"] == {"a": [1, None, 1.5]}
    assert newline in after
    start = before.index(b'"entryID": 7')
    assert before[start:] in after


def test_metadata_may_be_null_or_absent():
    for written in (', "metadata": null', ""):
        content = f'{{"images": [{{"entryID": 3{written}}}]}}'.encode()
        after = json.loads(with_our_metadata(content, {"3": {META_GROUP: "high"}}))
        assert after["images"][0]["metadata"] == {META_GROUP: "high"}


def test_empty_data_are_refused_and_no_data_are_nothing(project: Path):
    data = project / "data" / TUMOUR / "data.qpdata"
    data.write_bytes(b"")
    with pytest.raises(HccMilError, match=r"data\.qpdata: "):
        score_one(project)
    assert data.read_bytes() == b""


def test_each_image_is_looked_at_once_a_reading_and_once_a_write(
    project: Path, monkeypatch: pytest.MonkeyPatch
):
    def many(content: dict) -> None:
        image = content["images"][5]
        content["images"] = [{**image, "entryID": number} for number in range(1, 31)]

    change(project, many)
    for number in range(1, 31):
        shutil.copytree(
            SOURCE / "data" / TUMOUR, project / "data" / str(number), dirs_exist_ok=True
        )
    looked = []
    entry = qpproj._entry
    monkeypatch.setattr(qpproj, "_entry", lambda raw, at: looked.append(raw) or entry(raw, at))
    with NativeProject(project) as opened:
        states = [opened.read(each) for each in opened.images]
        assert len(looked) == 30
        for state in states[:3]:
            opened.write(state.entry, results_for(state), state.stamp)
        assert len(looked) <= 30 + 3 * 30
