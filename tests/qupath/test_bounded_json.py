"""JSON of projects from outside: too deep, too large or no number is one clean line."""

import json
from pathlib import Path
from typing import Any

import pytest

from qupath_hccmil.errors import ProjectError
from qupath_hccmil.qupath.bounded_json import bounded_int, parse_json
from qupath_hccmil.qupath.native.newdata import new_data
from qupath_hccmil.qupath.native.qpdata import QpData
from qupath_hccmil.qupath.qpproj import read_project, summary

METADATA = {
    "width": 100,
    "height": 80,
    "sizeZ": 1,
    "pixelCalibration": {"pixelWidth": {"value": 0.25, "unit": "µm"}},
}
ENTRY = {"serverBuilder": {"uri": "file:/a.svs", "metadata": METADATA}, "entryID": 1}
PROJECT = json.dumps({"version": "0.6.0", "images": [ENTRY]}, ensure_ascii=False)


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"images":' * 100_000,
        PROJECT.replace("100", "9" * 5000),
        "5",
        "",
    ],
)
def test_a_project_that_cannot_be_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "project.qpproj"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ProjectError) as raised:
        read_project(path)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    "content",
    [
        PROJECT.replace("100", "1e999"),
        PROJECT.replace("100", "NaN"),
        PROJECT.replace("100", "9" * 4000),
        PROJECT.replace("80", "4294967296"),
        PROJECT.replace('"sizeZ": 1', '"sizeZ": 1e300'),
        PROJECT.replace('"entryID": 1', '"entryID": 1e999'),
        PROJECT.replace('"entryID": 1', '"entryID": "../1"'),
        PROJECT.replace("0.25", "{}"),
    ],
)
def test_an_image_that_cannot_be_is_named_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "project.qpproj"
    path.write_text(content, encoding="utf-8")
    [image] = read_project(path).images
    assert "the entry of this image in the project's list is damaged" in image.problem
    assert "\n" not in image.problem
    assert len(image.problem) < 500


@pytest.mark.parametrize("value", ["1e999", "NaN", "-1", "0"])
def test_a_pixel_size_that_cannot_be_is_none(tmp_path: Path, value: str) -> None:
    path = tmp_path / "project.qpproj"
    path.write_text(PROJECT.replace("0.25", value), encoding="utf-8")
    assert read_project(path).images[0].server.pixel_width is None


def test_a_place_of_the_project_that_is_no_text_is_none(tmp_path: Path) -> None:
    path = tmp_path / "project.qpproj"
    path.write_text('{"version": "0.6.0", "uri": [1], "images": []}', encoding="utf-8")
    assert read_project(path).previous_uri is None


@pytest.mark.parametrize("server", ["[" * 50_000, "{", "[]", "NaN", "9" * 5000])
def test_a_server_that_is_no_json_is_of_no_version(server: str) -> None:
    content = new_data({}, [], qupath_version="0.6.0", entry_path="a::1", data_path="d")
    head = QpData(content).server_json
    data = QpData(
        content.replace(
            len(head.encode()).to_bytes(2, "big") + head.encode(),
            len(server).to_bytes(2, "big") + server.encode(),
        )
    )
    assert data.server_json == server
    assert data.qupath_version == ""
    with pytest.raises(ProjectError):
        data.require_writable()


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[1]", b"\xff", b"5"])
def test_a_damaged_summary_is_made_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "project.qpproj"
    path.write_text(PROJECT, encoding="utf-8")
    entry = read_project(path).images[0]
    assert json.loads(summary(content, entry, "UNSET", {"nObjects": 0}, 1))["timestamp"] == 1


@pytest.mark.parametrize("value", [1e999, float("nan"), 1 << 31, -(1 << 31), "x", "1" * 5000])
def test_numbers_have_bounds(value: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        bounded_int(value)


def test_values_are_values() -> None:
    assert parse_json(b'{"a": [1]}') == {"a": [1]}
    assert bounded_int("7") == 7
