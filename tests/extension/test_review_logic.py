"""Files of reviews, the orders of tiles and the features, without a window."""

import json
from pathlib import Path

import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.tiles_of_interest.cohort_tiles import CohortProject
from qupath_hccmil.tiles_of_interest.review_features import (
    REVIEWS_FOLDER,
    TAKEN_KEYS,
    TAKEN_NAMES,
    review_features,
)
from tests.extension.groovy_process import GroovyProcess, ProblemError

PUT = """
def judged = features.collectEntries { k, v -> [(k): v] }
def file = new ReviewFile(java.nio.file.Path.of(folder), reviewer, ['Stroma', 'Fat'])
file.put(new Review(imageId: image, image: 'slide "1".svs',
    tile: new Bounds(*(tile.collect { it as double })), model: model, verdict: verdict,
    features: judged, blinded: true, time: time))
file.path.toString()
"""


def put(groovy_process: GroovyProcess, folder: Path, **changed) -> Path:
    review = {
        "reviewer": "Dr A",
        "image": "1",
        "tile": [448, 0, 448.25, 448],
        "model": "abc",
        "verdict": "agree",
        "features": {},
        "time": "2026-11-27T03:40:00Z",
    }
    return Path(groovy_process(PUT, folder=str(folder), **{**review, **changed}))


def test_a_review_is_written_as_the_contract_says(groovy_process, tmp_path: Path):
    path = put(groovy_process, tmp_path / "new", features={"Stroma": True, "Fat": False})
    assert path == tmp_path / "new" / "Dr A.json"
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "format": "hccmil-reviews 1",
        "reviewer": "Dr A",
        "features": ["Stroma", "Fat"],
        "reviews": [
            {
                "image_id": "1",
                "image": 'slide "1".svs',
                "tile": [448, 0, 448.25, 448],
                "model": "abc",
                "verdict": "agree",
                "features": {"Stroma": True, "Fat": False},
                "blinded": True,
                "time": "2026-11-27T03:40:00Z",
            }
        ],
    }
    assert "448.0" not in path.read_text(encoding="utf-8")
    assert [each.name for each in path.parent.iterdir()] == ["Dr A.json"]


def test_a_later_click_replaces_the_earlier_of_tile_and_model(groovy_process, tmp_path: Path):
    put(groovy_process, tmp_path)
    put(groovy_process, tmp_path, verdict="artefact")
    put(groovy_process, tmp_path, model="other")
    put(groovy_process, tmp_path, tile=[0, 0, 448, 448])
    path = put(groovy_process, tmp_path, image="2")
    reviews = json.loads(path.read_text(encoding="utf-8"))["reviews"]
    assert [(each["image_id"], each["model"], each["verdict"]) for each in reviews] == [
        ("1", "abc", "artefact"),
        ("1", "other", "agree"),
        ("1", "abc", "agree"),
        ("2", "abc", "agree"),
    ]


def test_a_review_that_says_nothing_is_taken_back(groovy_process, tmp_path: Path):
    put(groovy_process, tmp_path)
    path = put(groovy_process, tmp_path, verdict=None)
    assert json.loads(path.read_text(encoding="utf-8"))["reviews"] == []


def test_a_verdict_may_be_missing_where_a_feature_was_judged(groovy_process, tmp_path: Path):
    path = put(groovy_process, tmp_path, verdict=None, features={"Fat": True})
    [review] = json.loads(path.read_text(encoding="utf-8"))["reviews"]
    assert review["verdict"] is None


def test_what_is_not_ours_in_the_file_stays(groovy_process, tmp_path: Path):
    path = put(groovy_process, tmp_path)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["note"] = {"of": 1.5}
    content["reviews"][0]["project"] = "p"
    path.write_text(json.dumps(content), encoding="utf-8")
    put(groovy_process, tmp_path, verdict="disagree")
    after = json.loads(path.read_text(encoding="utf-8"))
    assert after["note"] == {"of": 1.5}
    assert (after["reviews"][0]["project"], after["reviews"][0]["verdict"]) == ("p", "disagree")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "is not valid JSON"),
        (b"[]", "is not a file of reviews"),
        (b"\xff\xfe", "is not UTF-8"),
        (
            b'{"format": "hccmil-reviews 2", "reviewer": "Dr A"}',
            'has the format "hccmil-reviews 2"',
        ),
        (b'{"format": "hccmil-reviews 1", "reviewer": "Dr/A"}', 'contains the reviews of "Dr/A"'),
        (b'{"format": "hccmil-reviews 1", "reviewer": "Dr A", "reviews": {}}', "has no list"),
        (
            b'{"format": "hccmil-reviews 1", "reviewer": "Dr A", "reviews": [{"image_id": "1"}]}',
            "has a review that cannot be understood",
        ),
    ],
)
def test_a_file_that_is_not_understood_is_refused_and_left(groovy_process, tmp_path, content, says):
    path = tmp_path / "Dr A.json"
    path.write_bytes(content)
    with pytest.raises(ProblemError, match=r"Dr A\.json") as refused:
        put(groovy_process, tmp_path)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_said(groovy_process, tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ProblemError, match="cannot be"):
        put(groovy_process, tmp_path / "file")


def test_reviewers_have_files_of_their_own(groovy_process):
    names = groovy_process(
        "names.collect { ReviewFile.fileName(it) }", names=["Dr A", " Ärztin/2 ", "a.b-c"]
    )
    assert names == ["Dr A.json", "Ärztin_2.json", "a_b-c.json"]
    with pytest.raises(ProblemError, match="needs the name of the reviewer"):
        groovy_process("ReviewFile.fileName('  ')")


def test_of_two_models_the_later_review_of_a_tile_counts(groovy_process, tmp_path: Path):
    put(groovy_process, tmp_path, model="new", verdict="disagree", time="2026-11-28T00:00:00Z")
    put(groovy_process, tmp_path)
    found = groovy_process(
        """
        def file = new ReviewFile(java.nio.file.Path.of(folder), 'Dr A', [])
        def found = file.ofImage('1')
        def same = new Bounds(448, 0, 448.2500001d, 448)
        [found.size(), found[same].verdict, file.ofImage('2').size()]
        """,
        folder=str(tmp_path),
    )
    assert found == [1, "disagree", 0]


FEATURES = """
# of our hospital
[[feature]]
name = "Stroma \\"S\\""   # a comment
key = "1"

[[feature]]
key = 'f'
name = 'Fat'
"""


def test_features_are_read_from_toml(groovy_process, tmp_path: Path):
    read = "Features.of(java.nio.file.Path.of(folder)).collect { [it.name, it.key] }"
    names = [name for name, _ in groovy_process(read, folder=str(tmp_path))]
    assert names == [
        "Stroma",
        "High cytological atypia",
        "Nuclear hyperchromasia",
        "Immune cell infiltration",
    ]
    (tmp_path / "features.toml").write_text(FEATURES, encoding="utf-8")
    assert groovy_process(read, folder=str(tmp_path)) == [['Stroma "S"', "1"], ["Fat", "F"]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no [[feature]]"),
        ('name = "x"', "line 1"),
        ("[[feature]]\nname = 3", "line 2"),
        ('[[feature]]\nname = "x"\nname = "y"', "line 3: a second name"),
        ('[[feature]]\nkey = "1"', "has no name"),
        ('[[feature]]\nname = "x"', "its key must be"),
        ('[[feature]]\nname = "x"\nkey = "a"', "has another meaning"),
        ('[[feature]]\nname = "x"\nkey = "12"', "its key must be"),
        (
            '[[feature]]\nname="x"\nkey="1"\n[[feature]]\nname="y"\nkey="1"',
            "another feature has the key 1",
        ),
        ('[[feature]]\nname="x"\nkey="1"\n[[feature]]\nname="X"\nkey="2"', "feature is called X"),
        ('[[feature]]\nname = "Tile"\nkey = "1"', "Tile is a column of the tables"),
    ],
)
def test_features_that_are_not_understood_are_refused_in_one_line(
    groovy_process, text: str, says: str
):
    with pytest.raises(ProblemError) as refused:
        groovy_process("Features.read(text, 'f/features.toml')", text=text)
    assert str(refused.value).startswith("f/features.toml")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


KEYS = [*sorted(TAKEN_KEYS), "?", "é", "nn"]


@pytest.mark.parametrize(
    ("name", "key"),
    [("Fat", "f"), *(("x", key) for key in KEYS), *((name, "1") for name in sorted(TAKEN_NAMES))],
)
def test_the_gallery_takes_the_same_features(groovy_process, tmp_path: Path, name: str, key: str):
    folder = tmp_path / REVIEWS_FOLDER
    folder.mkdir()
    (folder / "features.toml").write_text(
        f'[[feature]]\nname = "{name}"\nkey = "{key}"\n', encoding="utf-8"
    )
    try:
        ours = [
            (each.name, each.key)
            for each in review_features([CohortProject("p", tmp_path / "project.qpproj", None)])
        ]
    except DataError:
        ours = None
    try:
        read = "Features.of(java.nio.file.Path.of(folder)).collect { [it.name, it.key] }"
        theirs = [(n, k.lower()) for n, k in groovy_process(read, folder=str(folder))]
    except ProblemError:
        theirs = None
    assert theirs == ours
    assert (ours is None) == (name in TAKEN_NAMES or key in {*TAKEN_KEYS, "?", "nn"})


TILES = """
def tiles = rows.collect { x, y, risk, contribution ->
    new Tile(bounds: new Bounds(x as double, y as double, 10, 10), risk: risk as double,
        contribution: contribution == null ? Double.NaN : contribution as double)
}
"""
ROWS = [[0, 0, 0.5, 0.1], [10, 0, 0.9, -0.3], [0, 10, 0.1, 0.4], [10, 10, 0.7, None]]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("RAISE", [0.1, 0.5, 0.9, 0.7]),
        ("LOWER", [0.9, 0.5, 0.1, 0.7]),
        ("HIGHEST", [0.9, 0.7, 0.5, 0.1]),
        ("LOWEST", [0.1, 0.5, 0.7, 0.9]),
    ],
)
def test_orders_of_tiles(groovy_process, order: str, expected: list[float]):
    found = groovy_process(
        f"{TILES}TileOrder.{order}.sorted(tiles, '').collect {{ it.risk }}", rows=ROWS
    )
    assert found == expected


def test_a_random_order_is_that_of_its_seed_however_the_tiles_come(groovy_process):
    code = f"""{TILES}
        def order = {{ list, seed ->
            TileOrder.RANDOM.sorted(list, seed).collect {{ it.bounds.x }}
        }}
        [order(tiles, '1'), order(tiles.reverse(), '1'), order(tiles, '2')]"""
    one, again, other = groovy_process(code, rows=[[x, 0, 0.5, 0] for x in range(0, 400, 10)])
    assert one == again
    assert one != other
    assert sorted(one) == sorted(other) != one


def test_the_map_is_white_at_the_threshold_and_ends_in_the_colours_of_the_classes(groovy_process):
    colours = groovy_process(
        "[0, 0.4457, 1, -3, 7].collect { RiskColours.diverging(it, 0, 0.4457, 1) }"
    )
    assert colours == [0x009E73, 0xFFFFFF, 0xE69F00, 0x009E73, 0xE69F00]
    assert groovy_process("RiskColours.diverging(0.72285d, 0, 0.4457, 1)") == 0xF3CF80


def test_colours_are_those_of_the_command(groovy_process):
    from qupath_hccmil.qupath.names import CLASS_COLOURS, CLASS_HIGH, CLASS_LOW

    ours = [CLASS_COLOURS[CLASS_HIGH], CLASS_COLOURS[CLASS_LOW]]
    assert groovy_process("[RiskColours.HIGH, RiskColours.LOW]") == ours


@pytest.mark.parametrize("threshold", [0.4457, 0.02, 0.999, 0.5, 0.0, 1.0])
def test_a_bin_of_the_histogram_begins_at_the_threshold(groovy_process, threshold: float):
    edges, counts, bins = groovy_process(
        """
        double at = threshold
        def made = new Histogram([0d, 0.1d, at, 1d, Double.NaN], at)
        [made.edges, made.counts, [made.binOf(0d), made.binOf(1d), made.binOf(at)]]
        """,
        threshold=threshold,
    )
    assert (edges[0], edges[-1], len(edges)) == (0, 1, 21)
    assert edges == sorted(edges)
    assert threshold in edges
    assert sum(counts) == 4
    assert bins[:2] == [0, 19]
    assert edges[bins[2]] == threshold or threshold == 1
