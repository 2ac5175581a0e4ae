"""Files of features: ours, and those of CLAM, TRIDENT and STAMP; damage is told in one line."""

import os

import h5py
import numpy as np
import pytest

from qupath_hccmil.errors import FeatureFileError, WriteError
from qupath_hccmil.features.feature_file import (
    depends_on,
    feature_files,
    open_features,
    write_features,
)
from tests.features.written_files import (
    COUNT,
    TRIDENT_COORDS,
    WIDTH,
    clam,
    grid,
    stamp,
    trident,
    vectors,
)
from tests.no_room import no_file_above


def ours(path, features=None, **of_file):
    write_features(
        path,
        vectors() if features is None else features,
        grid().astype(np.int64),
        of_file={
            "qupath_hccmil_version": "1",
            "slide": "a.svs",
            "encoder": "uni",
            "encoder_sha256": "ab",
            "tile_level0_px": 512.3,
            "tile_px": 224,
            "mpp": 0.5,
            "depends_on": '{"x": 1}',
            **of_file,
        },
        of_features={"encoder": "uni"},
        of_coords=TRIDENT_COORDS,
    )
    return path


def test_ours(tmp_path):
    found = open_features(ours(tmp_path / "a.h5"))
    assert (found.layout, found.slide, found.count, found.width) == (
        "qupath-hccmil",
        "a.svs",
        COUNT,
        WIDTH,
    )
    assert (found.encoder, found.encoder_sha256) == ("uni", "ab")
    assert (found.tile_level0_px, found.tile_px, found.mpp) == (512.3, 224, 0.5)
    assert found.tile_um == 112
    assert found.attributes["level0_width"] == 9000
    assert depends_on(found) == {"x": 1}
    np.testing.assert_array_equal(found.read(), vectors())
    np.testing.assert_array_equal(found.read(slice(1, 4)), vectors()[1:4])
    np.testing.assert_array_equal(found.coords(), grid())
    assert found.read().dtype == np.float32
    assert found.coords().dtype == np.int64


def test_ours_can_be_mapped(tmp_path):
    with h5py.File(ours(tmp_path / "a.h5")) as file:
        stored = file["features"]
        assert stored.chunks is None
        place = stored.id.get_offset()
    mapped = np.memmap(tmp_path / "a.h5", np.float32, "r", place, (COUNT, WIDTH))
    np.testing.assert_array_equal(mapped, vectors())


def test_clam(tmp_path):
    found = open_features(clam(tmp_path / "slide-1.h5"))
    assert (found.layout, found.slide, found.encoder) == ("CLAM", "slide-1", None)
    # the distance between tiles, as nothing in the file says how large they are
    assert (found.tile_level0_px, found.mpp, found.tile_um) == (512, None, None)
    np.testing.assert_array_equal(found.read(), vectors())
    np.testing.assert_array_equal(found.coords(), grid())
    assert open_features(clam(tmp_path / "one.h5", 1)).tile_level0_px is None


@pytest.mark.parametrize("axis", [False, True])
def test_trident(tmp_path, axis):
    found = open_features(trident(tmp_path / "x.h5", axis=axis))
    assert (found.layout, found.slide, found.encoder) == ("TRIDENT", "slide-1", "uni_v1")
    assert (found.tile_level0_px, found.tile_px, found.mpp) == (512, 256, 0.5)
    assert (found.count, found.width) == (COUNT, WIDTH)
    np.testing.assert_array_equal(found.read(slice(2, None)), vectors()[2:])
    np.testing.assert_array_equal(found.coords(), grid())


def test_trident_without_the_side_in_level_0(tmp_path):
    kept = ("patch_size", "level0_magnification", "target_magnification")
    attributes = {name: TRIDENT_COORDS[name] for name in kept}
    found = open_features(trident(tmp_path / "x.h5", attributes))
    assert found.tile_level0_px == 512


def test_trident_from_patches_of_clam(tmp_path):
    attributes = {"patch_size": 256, "patch_level": 1, "downsample": (4.0, 4.0), "name": "slide-1"}
    found = open_features(trident(tmp_path / "x.h5", attributes))
    assert (found.tile_level0_px, found.tile_px, found.mpp) == (1024, 256, None)
    halved = open_features(trident(tmp_path / "y.h5", {**attributes, "custom_downsample": 2}))
    assert halved.tile_level0_px == 2048


def test_an_encoder_that_trident_does_not_name(tmp_path):
    path = trident(tmp_path / "x.h5")
    with h5py.File(path, "a") as file:
        file["features"].attrs["encoder"] = "None"
    assert open_features(path).encoder is None


OLDER = {"unit": "um", "tile_size": 256.0, "extractor": "ctranspath"}


@pytest.mark.parametrize("of_file", [None, OLDER], ids=["now", "2.0"])
def test_stamp(tmp_path, of_file):
    found = open_features(stamp(tmp_path / "slide-1.h5", of_file))
    assert (found.layout, found.slide, found.encoder) == ("STAMP", "slide-1", "ctranspath")
    assert found.tile_level0_px is None
    assert found.tile_um == (256 if of_file is None else None)
    np.testing.assert_array_equal(found.read(), vectors().astype(np.float16))
    np.testing.assert_array_equal(found.coords(0.5), grid())
    with pytest.raises(FeatureFileError, match=r"are in µm.*give the slide's µm per pixel"):
        found.coords()


def test_earlier_stamp(tmp_path):
    """Coordinates in px of 256 µm / 224 px, and nothing that says so."""
    found = open_features(stamp(tmp_path / "slide-1.h5", {}, unit_um=224))
    assert (found.tile_um, found.tile_px) == (256, 224)
    np.testing.assert_array_equal(found.coords(0.5), grid())


def test_places_in_an_unknown_unit(tmp_path):
    found = open_features(stamp(tmp_path / "slide-1.h5", {}, unit_um=100))
    assert len(found.read()) == COUNT
    with pytest.raises(FeatureFileError, match="does not say where its tiles lie"):
        found.coords(0.5)


def test_values_that_are_no_numbers(tmp_path):
    wrong = vectors()
    wrong[3, 1] = np.nan
    wrong[4] = np.inf
    found = open_features(ours(tmp_path / "a.h5", wrong))
    with pytest.raises(FeatureFileError, match=r"a\.h5: the features of 2 of 6 .* of tile 3"):
        found.read()
    assert len(found.read(slice(0, 3))) == 3


def broken(path, change):
    clam(path)
    with h5py.File(path, "a") as file:
        change(file)
    return path


def replaced(name, value):
    def change(file):
        del file[name]
        file[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (replaced("features", np.zeros(5)), "one vector for the whole slide"),
        (replaced("features", np.zeros((0, 5))), "has no tiles"),
        (replaced("features", np.zeros((2, 6, 5))), "2 × 6 × 5"),
        (replaced("features", np.array([b"a", b"b"])), "not numbers"),
        (replaced("features", 1.0), "of one number"),
        (replaced("coords", np.zeros((5, 2))), "coords is 5 × 2, but there are 6 tiles"),
        (lambda file: file.move("features", "else"), "has neither features .* but coords, else"),
        (
            lambda file: (file.move("features", "x"), file.create_group("features")),
            "features is a group",
        ),
        (
            lambda file: file["coords"].attrs.update({"patch_size_level0": -1}),
            "patch_size_level0 is -1, not a number above 0",
        ),
    ],
)
def test_what_cannot_be_used(tmp_path, change, said):
    with pytest.raises(FeatureFileError, match=rf"a\.h5: .*{said}") as caught:
        open_features(broken(tmp_path / "a.h5", change))
    assert "\n" not in str(caught.value)


def test_features_of_a_patient(tmp_path):
    path = stamp(tmp_path / "p.h5", {"feat_type": "patient"})
    with pytest.raises(FeatureFileError, match="features of a patient, not of its tiles"):
        open_features(path)


def test_coordinates_that_are_no_numbers(tmp_path):
    path = stamp(tmp_path / "p.h5")
    with h5py.File(path, "a") as file:
        file["coords"][2, 0] = np.nan
    with pytest.raises(FeatureFileError, match="coords has values that are not numbers"):
        open_features(path).coords(0.5)


def test_no_hdf5(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"no")
    (tmp_path / "b.pt").write_bytes(b"no")
    for name, said in (
        ("a.h5", "is not an HDF5 file, or is damaged"),
        ("b.pt", "file of PyTorch.*give the .h5 files"),
        ("c.h5", "no such file"),
        (".", "is a folder"),
    ):
        with pytest.raises(FeatureFileError, match=said):
            open_features(tmp_path / name)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_that_was_cut_off(tmp_path, share):
    path = ours(tmp_path / "a.h5", np.zeros((COUNT, 4000), np.float32))
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(FeatureFileError, match=r"a\.h5: is not an HDF5 file, or is damaged"):
        open_features(path)


@pytest.mark.parametrize("part", [b"TREE", b"SNOD", b"HEAP", b"features\0"])
def test_a_file_with_a_wrong_part(tmp_path, part):
    """What h5py raises depends on the part; the user gets one line."""
    content = ours(tmp_path / "a.h5").read_bytes()
    place = content.index(part)
    for wrong in (b"\xff", b"\xfe" * 12):
        broken = content[:place] + wrong + content[place + len(wrong) :]
        (tmp_path / "a.h5").write_bytes(broken)
        with pytest.raises(FeatureFileError, match=r"a\.h5: ") as caught:
            open_features(tmp_path / "a.h5")
        assert "\n" not in str(caught.value)


def test_names_that_are_not_utf_8(tmp_path):
    path = broken(tmp_path / "a.h5", lambda file: file.move("features", b"\xe4hnlich"))
    with pytest.raises(FeatureFileError, match="has neither features"):
        open_features(path)


def test_numbers_too_large_for_float32(tmp_path):
    path = clam(tmp_path / "a.h5", features=vectors().astype(np.float64) * 1e300)
    with pytest.raises(FeatureFileError, match="features of 6 of 6 tiles are not finite"):
        open_features(path).read()


def test_a_full_disk(tmp_path):
    path = ours(tmp_path / "a.h5")
    before = path.read_bytes()
    with no_file_above(50_000), pytest.raises(WriteError, match=r"a\.h5: cannot be written"):
        ours(path, np.zeros((COUNT, 40_000), np.float32))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_folders(tmp_path):
    with pytest.raises(FeatureFileError, match="has no files of features"):
        feature_files(tmp_path)
    with pytest.raises(FeatureFileError, match="no such folder"):
        feature_files(tmp_path / "x")
    (tmp_path / "h5_files").mkdir()
    (tmp_path / "pt_files").mkdir()
    paths = [clam(tmp_path / "h5_files" / f"{name}.h5") for name in ("b", "a")]
    clam(tmp_path / "h5_files" / ".new-c.h5")
    (tmp_path / "pt_files" / "a.pt").touch()
    assert feature_files(tmp_path) == paths[::-1]
    assert feature_files(tmp_path / "h5_files") == paths[::-1]
    (tmp_path / "uni").mkdir()
    clam(tmp_path / "uni" / "a.h5")
    with pytest.raises(FeatureFileError, match="several encoders: h5_files, uni; give"):
        feature_files(tmp_path)
