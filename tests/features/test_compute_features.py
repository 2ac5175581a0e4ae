"""Features of slides: what is in the files, resumed runs, and slides or encoders that fail."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from shapely.geometry import box

from qupath_hccmil.encoders.encoder import load_encoder, load_encoders
from qupath_hccmil.encoders.encoder_folder import save_encoder_folder
from qupath_hccmil.errors import DataError, ModelError, WriteError
from qupath_hccmil.features import compute_features as computing
from qupath_hccmil.features.compute_features import FeatureRun, compute_features
from qupath_hccmil.features.feature_file import depends_on, feature_files, open_features
from qupath_hccmil.features.feature_folder import file_stems
from qupath_hccmil.features.feature_settings import FeatureSettings
from qupath_hccmil.features.slides_to_encode import slides_to_encode
from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.slide_sources.outlined_slides import find_slides
from qupath_hccmil.tiles import tile_reader
from tests.blobs import blob_image
from tests.conftest import ROOT
from tests.drawn_slides import write_pyramid
from tests.encoders.tiny import WIDTH, tiny_encoder
from tests.features.written_files import clam
from tests.no_room import no_file_above

SIDE = 1100  # four tiles of 512 px


class Quiet:
    """A watcher that looks away."""

    def start(self, image, n_tiles):
        pass

    def advance(self, n_tiles):
        pass


def draw(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    return write_pyramid(path, blob_image(seed, side=SIDE, count=900, radius=14)[0])


@pytest.fixture(scope="module")
def encoders(tmp_path_factory) -> list[Path]:
    """Two that see the same tiles."""
    folder = tmp_path_factory.mktemp("encoders")
    return [tiny_encoder(folder / str(n), name, n).path for n, name in enumerate(("one", "two"))]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    for number in range(2):
        draw(folder / f"s{number}.tif", number)
    return folder


@pytest.fixture
def slides(drawn, tmp_path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "slides"))


def a_run(out, encoders, **settings) -> FeatureRun:
    """In colours as they are, and without a conversion of the network, for speed."""
    chosen = FeatureSettings(**{"stain": "none", **settings})
    return FeatureRun(out, load_encoders(encoders), chosen, device="cpu", runtime="torch")


def the_slides(*sources, takes=lambda place, source: True):
    return slides_to_encode(
        sources, lambda source: find_slides(source, ("Tumor",), engine="native"), takes
    )


def computed(source, out, encoders, **settings):
    run = a_run(out, encoders, **settings)
    found = the_slides(source)
    return {each.slide: each for each in compute_features(found, run, Quiet())}


def stamps(out: Path) -> dict[str, int]:
    return {str(p.relative_to(out)): p.stat().st_mtime_ns for p in out.rglob("*.h5")}


def test_the_files(slides, encoders, tmp_path):
    out = tmp_path / "out"
    done = computed(slides, out, encoders)
    assert {name: (each.status, each.tiles) for name, each in done.items()} == {
        f"s{number}.tif": ("computed", {"one": 4, "two": 4}) for number in range(2)
    }
    found = [open_features(path) for path in feature_files(out / "one")]
    assert [each.slide for each in found] == ["s0.tif", "s1.tif"]
    one = found[0]
    assert (one.layout, one.count, one.width, one.encoder) == ("qupath-hccmil", 4, WIDTH, "one")
    assert one.encoder_sha256 == load_encoder(encoders[0]).sha256
    assert (one.tile_level0_px, one.tile_px, one.mpp, one.tile_um) == (512, 64, 2, 128)
    assert one.coords().tolist() == [[0, 0], [512, 0], [0, 512], [512, 512]]
    assert np.isfinite(one.read()).all()
    assert not np.allclose(one.read(), found[1].read())
    other = open_features(out / "two" / "s0.h5")
    assert not np.allclose(one.read(), other.read())


def test_trident_and_clam_read_them(slides, encoders, tmp_path):
    """With the names and in the way that their own readers do it."""
    computed(slides, tmp_path / "out", encoders[:1])
    with h5py.File(tmp_path / "out" / "one" / "s0.h5", "r") as file:
        features, coords = file["features"][:], file["coords"][:]
        about = dict(file["coords"].attrs)
        assert file["features"].attrs["encoder"] == "one"
    assert torch.from_numpy(features).shape == (4, WIDTH)
    assert (coords.shape, coords.dtype) == ((4, 2), np.int64)
    assert (int(about["patch_size"]), int(about["patch_size_level0"])) == (64, 512)
    assert about["level0_magnification"] == 40
    assert about["target_magnification"] == 5
    assert (about["name"], about["overlap"]) == ("s0", 0)
    assert (about["level0_width"], about["level0_height"]) == (SIDE, SIDE)


def test_tiles_are_read_once_for_several_encoders(slides, encoders, tmp_path, monkeypatch):
    rows = []
    real = tile_reader.TileReader._pixels

    def counted(self, row):
        rows.append(row)
        return real(self, row)

    monkeypatch.setattr(tile_reader.TileReader, "_pixels", counted)
    computed(slides / "s0.tif", tmp_path / "out", encoders)
    assert sorted(rows) == [0, 1, 2, 3]


def test_an_encoder_gives_the_same_alone_and_with_others(slides, encoders, tmp_path):
    other = tiny_encoder(tmp_path / "small", "small", 5, mpp=1.0).path
    computed(slides / "s0.tif", tmp_path / "together", [*encoders, other])
    for path in (*encoders, other):
        computed(slides / "s0.tif", tmp_path / "alone", [path])
    for name in ("one", "two", "small"):
        together, alone = (
            open_features(tmp_path / where / name / "s0.h5") for where in ("together", "alone")
        )
        np.testing.assert_array_equal(together.read(), alone.read())
        np.testing.assert_array_equal(together.coords(), alone.coords())
    assert together.count == 16


def test_stain(slides, encoders, tmp_path):
    out = tmp_path / "out"
    computed(slides / "s0.tif", out, encoders[:1], stain="vahadane")
    normalised = open_features(out / "one" / "s0.h5").read()
    done = computed(slides / "s0.tif", out, encoders[:1], stain="none")
    assert done["s0.tif"].status == "computed"
    plain = open_features(out / "one" / "s0.h5")
    assert plain.attributes["stain"] == "none"
    assert not np.allclose(plain.read(), normalised)
    with pytest.raises(DataError, match="knows stain-normalised colours only"):
        computed(slides, tmp_path / "other", [], stain="none")
    assert not (tmp_path / "other").exists()


def test_what_is_there_is_not_computed_again(slides, encoders, tmp_path):
    out = tmp_path / "out"
    computed(slides, out, encoders[:1])
    before = stamps(out)
    done = computed(slides, out, encoders[:1])
    assert {each.status for each in done.values()} == {"up to date"}
    assert stamps(out) == before
    # what is damaged, or gone, or of another encoder
    path = out / "one" / "s0.h5"
    whole = open_features(path).read()
    os.truncate(path, path.stat().st_size // 2)
    done = computed(slides, out, encoders)
    assert done["s0.tif"].tiles == {"one": 4, "two": 4}
    assert done["s1.tif"].tiles == {"two": 4}
    np.testing.assert_array_equal(open_features(path).read(), whole)
    assert stamps(out)["one/s1.h5"] == before["one/s1.h5"]


def test_other_settings_are_computed_again(slides, encoders, tmp_path):
    out = tmp_path / "out"
    source = slides / "s0.tif"
    computed(source, out, encoders[:1])
    for settings in ({"max_tiles": 2}, {"max_tiles": 2, "seed": 1}, {"mpp": 0.5}):
        done = computed(source, out, encoders[:1], **settings)
        assert done["s0.tif"].status == "computed", settings
        done = computed(source, out, encoders[:1], **settings)
        assert done["s0.tif"].status == "up to date", settings
    computed(source, out, encoders[:1], seed=1)
    done = computed(source, out, encoders[:1], seed=2)
    # without random tiles nothing is drawn
    assert done["s0.tif"].status == "up to date"


@pytest.fixture
def project(slides, tmp_path) -> Path:
    """Three images: outlined, without an outline, gone."""
    images = []
    for name, outlines in (
        ("s0.tif", [NewAnnotation(box(0, 0, 1024, 512), "Tumor")]),
        ("s1.tif", []),
        ("s2.tif", [NewAnnotation(box(0, 0, 1024, 512), "Tumor")]),
    ):
        path = slides / name
        images.append(
            NewImage(
                path, name, SIDE, SIDE, 0.25, metadata={"Patient ID": "p"}, annotations=outlines
            )
        )
    shutil.copy(slides / "s1.tif", slides / "s2.tif")
    create_project(tmp_path / "project", images)
    (slides / "s2.tif").unlink()
    return tmp_path / "project"


def test_a_project(project, encoders, tmp_path):
    done = computed(project, tmp_path / "out", encoders[:1])
    assert {name: each.status for name, each in done.items()} == {
        "s0.tif": "computed",
        "s1.tif": "failed",
        "s2.tif": "failed",
    }
    assert "no annotation" in done["s1.tif"].reason or "no tumour" in done["s1.tif"].reason
    assert "s2.tif" in done["s2.tif"].reason
    found = open_features(tmp_path / "out" / "one" / "s0.h5")
    assert found.coords().tolist() == [[0, 0], [512, 0]]
    assert found.attributes["patient"] == "p"
    assert found.attributes["outlines"] == depends_on(found)["slide"]["outlines"]


def test_outlines_next_to_a_slide(slides, encoders, tmp_path):
    outline = {
        "type": "Feature",
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[0, 0], [512, 0], [512, 1024], [0, 1024], [0, 0]]],
        },
        "properties": {"classification": {"name": "Tumor"}},
    }
    (slides / "s0.geojson").write_text(json.dumps(outline))
    table = tmp_path / "slides.csv"
    table.write_text("slide\nslides/s0.tif\nslides/gone.tif\n")
    done = computed(table, tmp_path / "out", encoders[:1])
    assert done["s0.tif"].tiles == {"one": 2}
    assert done["gone.tif"].reason.endswith("gone.tif")
    before = open_features(tmp_path / "out" / "one" / "s0.h5").attributes["outlines"]
    outline["geometry"]["coordinates"][0][2] = [512, 900]
    (slides / "s0.geojson").write_text(json.dumps(outline))
    assert computed(table, tmp_path / "out", encoders[:1])["s0.tif"].status == "computed"
    after = open_features(tmp_path / "out" / "one" / "s0.h5").attributes["outlines"]
    assert after != before


def test_another_slide_of_this_name_is_left(slides, encoders, tmp_path):
    out = tmp_path / "out"
    computed(slides / "s0.tif", out, encoders[:1])
    before = stamps(out)
    draw(tmp_path / "elsewhere" / "s0.tif", 9)
    done = computed(tmp_path / "elsewhere", out, encoders[:1])
    assert "holds the features of another slide" in done["s0.tif"].reason
    clam(out / "one" / "s1.h5")
    done = computed(slides, out, encoders[:1])
    assert "was not written by this program" in done["s1.tif"].reason
    assert done["s0.tif"].status == "up to date"
    assert stamps(out)["one/s0.h5"] == before["one/s0.h5"]


def test_another_encoder_of_this_name_is_refused(slides, encoders, tmp_path):
    out = tmp_path / "out"
    computed(slides / "s0.tif", out, encoders[:1])
    other = tiny_encoder(tmp_path / "other", "one", 7).path
    with pytest.raises(DataError, match=r"another encoder that is named 'one' too"):
        computed(slides, out, [other])
    (out / "one" / "features.json").write_text("{")
    with pytest.raises(DataError, match=r"features\.json: is damaged"):
        computed(slides, out, encoders[:1])
    (out / "one" / "features.json").unlink()
    with pytest.raises(DataError, match="has files that this program did not write"):
        computed(slides, out, encoders[:1])


def test_a_run_that_was_killed_at_once_or_that_another_one_joins(slides, encoders, tmp_path):
    """The folder is there, and the record of its encoder is not yet."""
    folder = tmp_path / "out" / "one"
    folder.mkdir(parents=True)
    (folder / ".new-features-x1.json").touch()
    done = computed(slides / "s0.tif", tmp_path / "out", encoders[:1])
    assert done["s0.tif"].status == "computed"


def test_parts_that_start_at_once(encoders, tmp_path):
    """Each makes the folder and its record, and none takes those of another for foreign files."""
    with ThreadPoolExecutor(8) as pool:
        for number in range(10):
            list(pool.map(lambda _, n=number: a_run(tmp_path / str(n), encoders), range(8)))
    assert (tmp_path / "9" / "two" / "features.json").is_file()


def test_features_that_are_no_numbers(slides, encoders, tmp_path):
    """One encoder with a wrong weight costs neither the other nor the next slide."""
    folder = tiny_encoder(tmp_path / "bad", "bad", 1)
    weights = {k: torch.full_like(v, torch.nan) for k, v in folder.weights().items()}
    save_encoder_folder(folder.path, folder.config, weights)
    done = computed(slides, tmp_path / "out", [folder.path, encoders[0]])
    assert {each.status for each in done.values()} == {"failed"}
    assert "bad gave values that are not finite numbers for 4 of 4" in done["s0.tif"].reason
    assert sorted(stamps(tmp_path / "out")) == ["one/s0.h5", "one/s1.h5"]


def test_wrong_weights_end_the_run(slides, tmp_path):
    folder = tiny_encoder(tmp_path / "bad")
    save_encoder_folder(folder.path, folder.config, {"w": torch.zeros(2)})
    with pytest.raises(ModelError, match="the weights do not fit"):
        computed(slides, tmp_path / "out", [folder.path])


def test_a_full_disk_ends_the_run(slides, encoders, tmp_path):
    out = tmp_path / "out"
    run = a_run(out, encoders[:1])
    found = the_slides(slides)
    with no_file_above(1500), pytest.raises(WriteError, match=r"s0\.h5: cannot be written"):
        list(compute_features(found, run, Quiet()))
    assert [path.name for path in (out / "one").iterdir()] == ["features.json"]


def test_a_slide_that_changes_while_it_is_read(slides, encoders, tmp_path, monkeypatch):
    real = computing.encode_slide

    def changing(*arguments):
        found = real(*arguments)
        with (slides / "s0.tif").open("ab") as file:
            file.write(b"more")
        return found

    monkeypatch.setattr(computing, "encode_slide", changing)
    done = computed(slides / "s0.tif", tmp_path / "out", encoders[:1])
    assert "was changed while it was read" in done["s0.tif"].reason
    assert not stamps(tmp_path / "out")


def test_a_slide_without_tissue(encoders, tmp_path):
    white = np.full((SIDE, SIDE, 3), 245, np.uint8)
    write_pyramid(tmp_path / "white.tif", white)
    for stain in ("none", "vahadane"):
        done = computed(tmp_path / "white.tif", tmp_path / "out", encoders[:1], stain=stain)
        assert "background or out of focus" in done["white.tif"].reason
        assert not stamps(tmp_path / "out")


@pytest.mark.slow
def test_a_killed_run_goes_on(slides, encoders, tmp_path):
    """After a kill each file is whole or not there, and the next run completes them."""
    for number in range(2, 5):
        shutil.copy(slides / "s1.tif", slides / f"s{number}.tif")
    out = tmp_path / "out"
    command = [
        sys.executable, "-m", "qupath_hccmil", "features", slides, "--out", out, "--device", "cpu",
        "--runtime", "torch", "--stain", "none", "--encoder", encoders[0],
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # the first slide is done
    process.kill()
    process.wait()
    process.stdout.close()
    before = {name: when for name, when in stamps(out).items() if ".new-" not in name}
    assert before
    for name in before:
        open_features(out / name).read()
    done = computed(slides, out, encoders[:1])
    assert {each.status for each in done.values()} <= {"computed", "up to date"}
    after = stamps(out)
    assert len(feature_files(out / "one")) == 5
    assert {name: after[name] for name in before} == before


def test_shares_of_the_slides(slides, encoders, tmp_path):
    of_two = [
        [
            slide.name
            for slide, _ in the_slides(slides, takes=lambda n, _, p=part: n % 2 == p).slides
        ]
        for part in range(2)
    ]
    assert of_two == [["s0.tif"], ["s1.tif"]]


def test_a_part_does_not_follow_from_other_sources(slides, tmp_path):
    second = draw(tmp_path / "more" / "s2.tif", 2).parent
    places = []

    def noted(place, source):
        places.append((place, source))
        return True

    found = the_slides(slides, tmp_path / "none", second, takes=noted)
    assert places == [(0, 0), (1, 0), (0, 2)]
    assert [stem for _, stem in found.slides] == ["s0", "s1", "s2"]
    assert list(found.wrong) == [tmp_path / "none"]
    with pytest.raises(DataError, match=r"none.*; .*nor_this"):
        the_slides(tmp_path / "none", tmp_path / "nor_this")


def test_two_slides_that_would_have_the_same_file(slides, tmp_path):
    """The same slide once more is done once; another one of the same name is not written over."""
    other = draw(tmp_path / "more" / "s0.tif", 2).parent
    found = the_slides(slides, slides / "s1.tif", other)
    assert [stem for _, stem in found.slides] == ["s0", "s1"]
    ((name, reason),) = found.unusable
    assert name == "s0.tif"
    assert reason.startswith(f"{other}: has a slide for s0.h5, as has {slides}; ")


def test_names_of_files():
    assert file_stems([("1", "a.svs"), ("2", "b.tif"), ("3", "c d.svs - Series 1")]) == {
        "1": "a",
        "2": "b",
        "3": "c_d.svs_-_Series_1",
    }
    # what differs by case alone is one file on Windows and macOS
    assert file_stems([("1", "a.svs"), ("2", "A.tif"), ("3", "b.svs"), ("4", "b.svs")]) == {
        "1": "a.svs",
        "2": "A.tif",
        "3": "b.svs-3",
        "4": "b.svs-4",
    }


def test_settings_of_the_file_are_the_users(slides, encoders, tmp_path):
    computed(slides / "s0.tif", tmp_path / "out", encoders[:1], max_tiles=3, seed=4)
    stored = depends_on(open_features(tmp_path / "out" / "one" / "s0.h5"))
    assert stored["settings"] == {
        "max_tiles": 3,
        "min_inside": 0.5,
        "mpp": None,
        "seed": 4,
        "stain": "none",
    }
