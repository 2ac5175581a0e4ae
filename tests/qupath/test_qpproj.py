"""A project's own files are changed in the one place that is meant, byte by byte."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qupath_hccmil.errors import ProjectError
from qupath_hccmil.qupath.data_types import ServerView
from qupath_hccmil.qupath.json_splice import items, members
from qupath_hccmil.qupath.names import (
    CLASS_COLOURS,
    CLASS_HIGH,
    CLASS_LOW,
    DEFAULT_CLASSES,
    META_GROUP,
    META_RISK,
    is_our_metadata,
)
from qupath_hccmil.qupath.qpproj import (
    opaque,
    project_file,
    read_project,
    summary,
    with_classes,
    with_our_metadata,
)

SERVER = {
    "builderType": "uri",
    "providerClassName": "qupath.lib.images.servers.openslide.OpenslideServerBuilder",
    "uri": "file:/slides/a%20b.svs",
    "args": ["--series", "0"],
    "metadata": {
        "width": 2000,
        "height": 1000,
        "sizeZ": 1,
        "sizeT": 2,
        "isRGB": True,
        "pixelCalibration": {
            "pixelWidth": {"value": 0.25, "unit": "µm"},
            "pixelHeight": {"value": 0.26, "unit": "µm"},
        },
    },
}

texts = st.text(max_size=12)
ours = st.dictionaries(st.sampled_from([META_RISK, META_GROUP]), texts, max_size=2)
theirs = st.dictionaries(texts.filter(lambda key: not is_our_metadata(key)), texts, max_size=3)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def project(*images: dict, **more) -> dict:
    return {
        "version": "0.6.0",
        "uri": "file:/old/project.qpproj",
        "lastID": len(images),
        "images": list(images),
        **more,
    }


def image(number: int = 1, **more) -> dict:
    return {"serverBuilder": SERVER, "entryID": number, "imageName": f"image {number}", **more}


def written(content: dict, **how) -> bytes:
    return json.dumps(content, **{"indent": 2, "ensure_ascii": False, **how}).encode("utf-8")


def read(tmp_path: Path, content: dict):
    path = tmp_path / "project.qpproj"
    path.write_bytes(written(content))
    return read_project(path)


@given(json_values, st.sampled_from([None, 0, 3]))
def test_values_are_found_where_they_are(value, indent):
    text = json.dumps({"a": value, "b": [value, 1]}, indent=indent)
    found = members(text, 0)
    assert json.loads(text[slice(*found["a"])]) == value
    [first, second] = [json.loads(text[slice(*span)]) for _, span in items(text, found["b"][0])]
    assert [each for each, _ in items(text, found["b"][0])] == [first, second]
    assert (first, second) == (value, 1)


@given(theirs, ours, ours)
def test_only_our_metadata_of_the_one_image_change(theirs, first, second):
    before = written(project(image(1, metadata={"x": "1"}), image(2, metadata=theirs, tags=["é"])))
    once = with_our_metadata(before, {"2": first})
    twice = with_our_metadata(once, {"2": second})
    content = json.loads(twice)
    assert content["images"][1].pop("metadata") == {**theirs, **second}
    kept = json.loads(before)
    kept["images"][1].pop("metadata")
    assert content == kept
    assert with_our_metadata(twice, {"2": {}}) == before


@pytest.mark.parametrize("how", [{"indent": None}, {"indent": 4}, {"separators": (",", ":")}])
def test_another_layout_is_kept_around_the_metadata(how):
    before = written(project(image(1, metadata={"a": "b"}, tags=["t"])), **how)
    after = with_our_metadata(before, {"1": {META_RISK: "0.5"}})
    cut = before.index(b'"metadata"', before.index(b"imageName"))
    assert after[:cut] == before[:cut]
    assert json.loads(after)["images"][0]["metadata"] == {"a": "b", META_RISK: "0.5"}
    assert json.loads(with_our_metadata(after, {"1": {}})) == json.loads(before)


def test_an_entry_without_metadata_gets_them():
    before = written(project(image(1)))
    after = with_our_metadata(before, {"1": {META_RISK: "0.5"}})
    assert json.loads(after)["images"][0]["metadata"] == {META_RISK: "0.5"}
    assert with_our_metadata(before, {"1": {}}) == before


def test_an_image_that_is_gone_is_said():
    with pytest.raises(ProjectError, match="image 3 is no longer in the project"):
        with_our_metadata(written(project(image(1))), {"3": {}})


def test_images_are_read(tmp_path):
    found = read(tmp_path, project(image(7, metadata={"Patient": "P1"}), image(2)))
    assert (found.version, found.previous_uri) == ("0.6.0", "file:/old/project.qpproj")
    assert [(each.id, each.name) for each in found.images] == [("7", "image 7"), ("2", "image 2")]
    server = found.images[0].server
    assert (server.builder, server.uri, server.args) == ("uri", SERVER["uri"], ("--series", "0"))
    assert (server.width, server.height, server.size_t) == (2000, 1000, 2)
    assert (server.pixel_width, server.pixel_height) == (0.25, 0.26)
    assert found.images[0].metadata == {"Patient": "P1"}


def test_servers_around_a_slide_are_told_from_the_inside_out(tmp_path):
    region = {"x": 10, "y": 20, "width": 300, "height": 200, "z": 0, "t": 0}
    cut = {"builderType": "cropped", "builder": SERVER, "region": region}
    turned = {"builderType": "rotated", "builder": cut, "rotation": "ROTATE_90"}
    known = {**turned, "metadata": {"width": 5, "height": 6}}
    images = (image(1, serverBuilder=turned), image(2, serverBuilder=known))
    through, said = (each.server for each in read(tmp_path, project(*images)).images)
    assert (through.builder, through.uri) == ("uri", SERVER["uri"])
    assert through.views == (
        ServerView("cropped", region=(10, 20, 300, 200)),
        ServerView("rotated", degrees=90),
    )
    assert (through.width, through.height) == (200, 300)
    assert (through.pixel_width, through.pixel_height) == (0.26, 0.25)
    assert (said.width, said.height) == (5, 6)


@pytest.mark.parametrize(
    "calibration", [None, {}, {"pixelWidth": {"value": 1.0, "unit": "px"}}, {"pixelWidth": None}]
)
def test_no_calibration_is_none(tmp_path, calibration):
    server = {**SERVER, "metadata": {**SERVER["metadata"], "pixelCalibration": calibration}}
    [found] = read(tmp_path, project(image(1, serverBuilder=server))).images
    assert (found.server.pixel_width, found.server.pixel_height) == (None, None)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no json",
        b"[]",
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"images": 1}',
        b'{"images": [{"path": "/old/slide.svs"}]}',
    ],
    ids=lambda content: content[:30].decode("latin-1") or "empty",
)
def test_what_is_no_project_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "project.qpproj"
    path.write_bytes(content)
    with pytest.raises(ProjectError, match=r"project\.qpproj: .*QuPath") as error:
        read_project(path)
    assert "\n" not in str(error.value)


def test_a_project_is_given_by_its_folder_or_its_file(tmp_path):
    folder = tmp_path / "version 1.0"
    folder.mkdir()
    with pytest.raises(ProjectError, match=r"contains no \.qpproj file"):
        project_file(folder)
    other = folder / "other.qpproj"
    other.touch()
    assert project_file(folder) == project_file(other) == other
    named = folder / "project.qpproj"
    named.touch()
    assert project_file(folder) == named
    named.rename(folder / "third.qpproj")
    with pytest.raises(ProjectError, match=r"contains 2 \.qpproj files"):
        project_file(folder)
    with pytest.raises(ProjectError, match="does not exist"):
        project_file(tmp_path / "none")


def test_classes_are_added_by_union():
    theirs = {"pathClasses": [{"name": "Tumor", "color": -3670016, "x": 1}], "more": [1]}
    after = json.loads(with_classes(written(theirs), CLASS_COLOURS))
    assert after["pathClasses"][0] == theirs["pathClasses"][0]
    assert after["more"] == [1]
    added = {each["name"]: each["color"] & 0xFFFFFF for each in after["pathClasses"][1:]}
    assert added == CLASS_COLOURS
    assert with_classes(written(after), CLASS_COLOURS) is None


def test_former_colours_of_our_classes_are_replaced_and_a_users_choice_stays():
    former = {CLASS_HIGH: 0xC8321E, CLASS_LOW: 0x2D6EB4}
    first = with_classes(written({"pathClasses": [{"name": "Tumor", "color": -3670016}]}), former)
    listed = json.loads(first)
    assert [each["color"] & 0xFFFFFF for each in listed["pathClasses"][1:]] == [*former.values()]
    listed["pathClasses"][2]["color"] = opaque(0x123456)
    after = json.loads(with_classes(written(listed), CLASS_COLOURS))["pathClasses"]
    assert [each["color"] for each in after] == [
        -3670016,
        opaque(CLASS_COLOURS[CLASS_HIGH]),
        opaque(0x123456),
    ]
    assert with_classes(written({"pathClasses": after}), CLASS_COLOURS) is None


def test_a_users_class_with_a_colour_that_was_ours_is_left():
    theirs = {"pathClasses": [{"name": "Mine", "color": opaque(0xC8321E)}]}
    after = json.loads(with_classes(written(theirs), CLASS_COLOURS))
    assert after["pathClasses"][0] == theirs["pathClasses"][0]


def test_a_new_list_of_classes_has_what_qupath_would_show():
    made = json.loads(with_classes(b"", CLASS_COLOURS))["pathClasses"]
    assert [each["name"] for each in made] == [
        *("Tumor", "Stroma", "Immune cells", "Necrosis", "Other", "Region*", "Ignore*"),
        *("Positive", "Negative", *CLASS_COLOURS),
    ]


def test_colours_are_as_qupath_packs_them():
    assert opaque(0xC80000) == -3670016


def test_a_summary_keeps_what_it_says_of_the_server(tmp_path):
    [entry] = read(tmp_path, project(image(1))).images
    counts = {"nObjects": 1, "objectTypeCounts": {"Root objects": 1}}
    old = b'{"timestamp":1,"imageType":"UNSET","server":{"sizeC":15},"hierarchy":{}}'
    new = json.loads(summary(old, entry, "BRIGHTFIELD_H_E", counts, 5))
    assert new == {
        "timestamp": 5,
        "imageType": "BRIGHTFIELD_H_E",
        "server": {"sizeC": 15},
        "hierarchy": counts,
    }
    for damaged in (b"", b"{"):
        assert json.loads(summary(damaged, entry, "UNSET", counts, 5))["server"]["width"] == 2000


@pytest.mark.qupath
def test_the_default_classes_are_qupaths_own(qupath):
    assert qupath("default_classes") == DEFAULT_CLASSES


def test_a_folder_of_projects_names_them(tmp_path):
    for name in ("b/second", "a"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "project.qpproj").touch()
    with pytest.raises(ProjectError) as refused:
        project_file(tmp_path)
    below = f"{tmp_path / 'a'}, {tmp_path / 'b' / 'second'}"
    assert str(refused.value) == (
        f"{tmp_path}: contains no .qpproj file; give the .qpproj of a QuPath project; projects "
        f"below it: {below}"
    )


def test_of_many_projects_some_are_named_and_none_far_below(tmp_path):
    far = tmp_path / "1" / "2" / "3" / "4"
    far.mkdir(parents=True)
    (far / "project.qpproj").touch()
    with pytest.raises(ProjectError, match=r"a QuPath project$"):
        project_file(tmp_path)
    for number in range(9):
        (tmp_path / f"p{number}").mkdir()
        (tmp_path / f"p{number}" / "project.qpproj").touch()
    with pytest.raises(ProjectError, match=r"p4, …$"):
        project_file(tmp_path)


@pytest.mark.parametrize("given", ["", "project.qpproj.backup"])
def test_a_backup_says_what_to_do(tmp_path, given):
    (tmp_path / "project.qpproj.backup").touch()
    with pytest.raises(ProjectError, match=r"backup, copy it to project\.qpproj in its folder$"):
        project_file(tmp_path / given)
