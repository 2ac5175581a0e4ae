import numpy as np
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.mil.bags import StoredBag, bag_file, draw, stored_bags, with_heat, write_bag

RGB = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)


def red(tiles):
    return (tiles[..., 0] / np.float32(255)).astype(np.float32)


def test_a_bag_comes_back_as_it_was_prepared(tmp_path):
    write_bag(tmp_path / "pat.1.npy", iter([RGB[:3], RGB[3:]]), 5, 8, red)
    bag = stored_bags(tmp_path)["pat.1"]
    assert len(bag) == 5
    tiles = bag.read(np.array([0, 4]))
    np.testing.assert_array_equal(tiles[:, :3], RGB[[0, 4]].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(tiles[:, 3], RGB[[0, 4], :, :, 0])


def test_heat_is_rounded_to_bytes():
    heat = np.array([[[0.0, 0.5, 1.0]]], np.float32)
    tiles = with_heat(np.zeros((1, 1, 3, 3), np.uint8), heat)
    assert tiles[0, 3].tolist() == [[0, 128, 255]]


def test_an_unfinished_bag_is_not_there(tmp_path):
    with pytest.raises(DataError, match="3 tiles, but 5 were announced"):
        write_bag(tmp_path / "p.npy", [RGB[:3]], 5, 8, red)
    with pytest.raises(DataError, match="no prepared bags"):
        stored_bags(tmp_path)


def test_refuses_what_is_no_bag(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 8, 8), np.uint8))
    with pytest.raises(DataError, match=r"uint8 \(2, 3, 8, 8\), but"):
        StoredBag(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.zeros((0, 4, 8, 8), np.uint8))
    with pytest.raises(DataError, match=r"a\.npy: has no tiles"):
        StoredBag(tmp_path / "a.npy")
    (tmp_path / "b.npy").write_bytes(b"x")
    with pytest.raises(DataError, match="not a bag of tiles"):
        StoredBag(tmp_path / "b.npy")


def test_draws_without_repeats_and_all_of_a_small_bag(tmp_path):
    bag = write_bag(tmp_path / "p.npy", [RGB], 5, 8, red)
    rng = np.random.default_rng(0)
    assert len(set(draw(bag, 3, rng).tolist())) == 3
    assert draw(bag, 100, rng).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("patient", "name"), [("CON", "%43ON.npy"), ("aux.1", "%61ux.1.npy")])
def test_a_patient_with_the_name_of_a_device_of_windows(tmp_path, patient, name):
    assert bag_file(patient) == name
    rgb = np.zeros((1, 4, 4, 3), np.uint8)
    heat = lambda tiles: np.zeros(tiles.shape[:3], np.float32)  # noqa: E731
    write_bag(tmp_path / name, [rgb], 1, 4, heat)
    assert stored_bags(tmp_path).keys() == {patient}
