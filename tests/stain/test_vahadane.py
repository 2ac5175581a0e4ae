"""A slide's stains are staintools', repeat bit for bit, and bad pixels are refused in a line."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from qupath_hccmil.errors import SlideError
from qupath_hccmil.stain.vahadane import MIN_TISSUE_PIXELS, Normalizer, StainFit, fit

HERE = Path(__file__).parent
TARGET = (slice(600, 1112), slice(600, 1112))


def matrices_agree(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-2, rtol=0)


@pytest.fixture(scope="session")
def staintools_run(
    slide_pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, np.ndarray]:
    folder = tmp_path_factory.mktemp("staintools")
    np.save(folder / "image.npy", slide_pixels)
    np.save(folder / "target.npy", slide_pixels[TARGET])
    command = [sys.executable, HERE / "staintools_runs.py"]
    names = [folder / "image.npy", folder / "target.npy", folder / "out.npz"]
    environment = os.environ | {"MPLBACKEND": "agg"}
    subprocess.run([*command, *names], check=True, env=environment)
    with np.load(folder / "out.npz") as found:
        return dict(found)


class TestAgainstStaintools:
    def test_stain_matrix(
        self, staintools_run: dict[str, np.ndarray], slide_pixels: np.ndarray
    ) -> None:
        reached = int(staintools_run["iterations"])
        if reached < 3_000:
            pytest.skip(f"machine too busy: {reached} iterations in staintools' second")
        matrices_agree(fit(slide_pixels).matrix, staintools_run["matrix"])
        matrices_agree(fit(slide_pixels[TARGET]).matrix, staintools_run["target_matrix"])

    def test_normalised_colours(
        self, staintools_run: dict[str, np.ndarray], slide_pixels: np.ndarray
    ) -> None:
        normalizer = Normalizer(fit(slide_pixels), fit(slide_pixels[TARGET]))
        ours = normalizer.transform(slide_pixels[None])[0]
        difference = np.abs(ours.astype(np.int16) - staintools_run["normalised"])
        dark = slide_pixels.mean(axis=-1) < 200
        assert difference.mean() < 3
        assert difference[dark].mean() < 3

    def test_frozen_stain_matrix(self, slide_pixels: np.ndarray) -> None:
        """As above, against what staintools found on an idle machine."""
        frozen = json.loads((HERE / "golden" / "staintools_matrices.json").read_text())
        matrices_agree(fit(slide_pixels).matrix, np.array(frozen["slide"]))
        matrices_agree(fit(slide_pixels[TARGET]).matrix, np.array(frozen["target"]))


class TestFit:
    def test_repeats_bit_for_bit(self, drawn_tiles: np.ndarray) -> None:
        first = fit(drawn_tiles).to_dict()
        with ThreadPoolExecutor(4) as pool:
            again = [found.to_dict() for found in pool.map(fit, [drawn_tiles] * 4)]
        assert again == [first] * 4

    def test_repeats_in_another_process(self, drawn_tiles: np.ndarray, tmp_path: Path) -> None:
        np.save(tmp_path / "tiles.npy", drawn_tiles)
        script = (
            "import json, sys, numpy; from qupath_hccmil.stain.vahadane import fit; "
            "print(json.dumps(fit(numpy.load(sys.argv[1])).to_dict()))"
        )
        found = subprocess.run(
            [sys.executable, "-c", script, tmp_path / "tiles.npy"],
            check=True,
            capture_output=True,
            text=True,
        )
        assert json.loads(found.stdout) == fit(drawn_tiles).to_dict()

    def test_finds_known_stains(self, drawn_tiles: np.ndarray) -> None:
        found = fit(drawn_tiles).matrix
        known = np.array([[0.65, 0.70, 0.29], [0.27, 0.83, 0.48]])
        known /= np.linalg.norm(known, axis=1, keepdims=True)
        # λ = 0.1 draws the two together, so this is not exact.
        assert ((found * known).sum(axis=1) > 0.97).all()
        assert found[0, 0] > found[1, 0]

    def test_shape_of_the_pool_does_not_matter(self, drawn_tiles: np.ndarray) -> None:
        assert fit(drawn_tiles.reshape(-1, 3)).to_dict() == fit(drawn_tiles).to_dict()

    def test_dictionary_round_trip_is_exact(self, drawn_tiles: np.ndarray) -> None:
        text = json.dumps(fit(drawn_tiles).to_dict())
        assert json.dumps(StainFit.from_dict(json.loads(text)).to_dict()) == text

    @pytest.mark.parametrize(
        "change",
        [
            {"matrix": [[1, 0, 0]]},
            {"matrix": [[1, 1, 0], [0, 1, 0]]},
            {"matrix": "x"},
            {"max_concentration": [1, 0]},
            {"max_concentration": [1, float("nan")]},
            {"luminosity": -1},
            {"luminosity": None},
        ],
    )
    def test_refuses_damaged_dictionary(self, change: dict[str, object]) -> None:
        good = {
            "matrix": [[1, 0, 0], [0, 0.6, 0.8]],
            "max_concentration": [1, 1],
            "luminosity": 240,
        }
        StainFit.from_dict(good)
        with pytest.raises(ValueError, match="not a stain fit"):
            StainFit.from_dict(good | change)

    @pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (200, 100, 150)])
    def test_refuses_one_colour(self, colour: tuple[int, int, int]) -> None:
        with pytest.raises(SlideError, match=r"^a\.svs: the stains cannot be fitted"):
            fit(np.full((2, 224, 224, 3), colour, dtype=np.uint8), name="a.svs")

    def test_refuses_too_little_tissue(self) -> None:
        tile = np.full((224, 224, 3), 250, dtype=np.uint8)
        tile[:20, :20] = (150, 80, 150)
        with pytest.raises(SlideError, match=f"400 of 50176 .* {MIN_TISSUE_PIXELS} are needed"):
            fit(tile)
        with pytest.raises(SlideError, match="0 of 0"):
            fit(np.empty((0, 224, 224, 3), dtype=np.uint8))

    def test_refuses_one_stain(self) -> None:
        greys = np.random.default_rng(0).integers(60, 250, (50_000, 1), dtype=np.uint8)
        with pytest.raises(SlideError, match="do not show two different stains"):
            fit(np.repeat(greys, 3, axis=1))


class TestNormalizer:
    @pytest.fixture
    def stains(self, drawn_tiles: np.ndarray) -> tuple[StainFit, StainFit]:
        faded = 255 - (255 - drawn_tiles.astype(np.float64)) * 0.7
        return fit(faded.astype(np.uint8)), fit(drawn_tiles)

    def test_batch_equals_single_in_any_order(
        self, stains: tuple[StainFit, StainFit], drawn_tiles: np.ndarray
    ) -> None:
        batch = Normalizer(*stains).transform(drawn_tiles)
        other = Normalizer(*stains)
        for index in (5, 0, 7, 3):
            single = other.transform(drawn_tiles[index : index + 1])
            np.testing.assert_array_equal(single[0], batch[index])

    def test_does_not_change_its_input(
        self, stains: tuple[StainFit, StainFit], drawn_tiles: np.ndarray
    ) -> None:
        kept = drawn_tiles.copy()
        Normalizer(*stains).transform(drawn_tiles)
        np.testing.assert_array_equal(drawn_tiles, kept)

    def test_takes_views(self, stains: tuple[StainFit, StainFit], drawn_tiles: np.ndarray) -> None:
        normalizer = Normalizer(*stains)
        flipped = normalizer.transform(drawn_tiles[:, ::-1, 3:50])
        np.testing.assert_array_equal(flipped, normalizer.transform(drawn_tiles)[:, ::-1, 3:50])

    def test_threads_share_one(
        self, stains: tuple[StainFit, StainFit], drawn_tiles: np.ndarray
    ) -> None:
        expected = Normalizer(*stains).transform(drawn_tiles)
        shared = Normalizer(*stains)
        with ThreadPoolExecutor(8) as pool:
            for found in pool.map(shared.transform, [drawn_tiles] * 16):
                np.testing.assert_array_equal(found, expected)

    def test_extreme_tiles(self, stains: tuple[StainFit, StainFit]) -> None:
        black, white = np.zeros((1, 8, 8, 3), np.uint8), np.full((1, 8, 8, 3), 255, np.uint8)
        normalizer = Normalizer(*stains)
        assert (normalizer.transform(white) == 255).all()
        assert (normalizer.transform(black) < 30).all()

    def test_empty_batch(self, stains: tuple[StainFit, StainFit]) -> None:
        empty = np.empty((0, 224, 224, 3), np.uint8)
        assert Normalizer(*stains).transform(empty).shape == empty.shape

    def test_brings_a_slide_to_the_target(
        self, stains: tuple[StainFit, StainFit], drawn_tiles: np.ndarray
    ) -> None:
        """A faded copy comes back to the stains of what it was made from."""
        faded = (255 - (255 - drawn_tiles.astype(np.float64)) * 0.7).astype(np.uint8)
        before = np.abs(faded.astype(float) - drawn_tiles).mean()
        after = np.abs(Normalizer(*stains).transform(faded).astype(float) - drawn_tiles).mean()
        assert after < before / 3
