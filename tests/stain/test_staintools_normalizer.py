"""``--stain staintools`` is staintools, tile by tile; what it can't normalise is left out."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import staintools

from qupath_hccmil.errors import PackageError
from qupath_hccmil.stain.staintools_normalizer import StaintoolsNormalizer, identity
from qupath_hccmil.stain.vahadane import StainFit
from tests.stain.few_iterations import few_iterations

standardize = staintools.LuminosityStandardizer.standardize


@pytest.fixture(autouse=True)
def _repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    few_iterations(monkeypatch)


@pytest.fixture
def reference(drawn_tiles: np.ndarray) -> staintools.StainNormalizer:
    normalizer = staintools.StainNormalizer(method="vahadane")
    normalizer.fit(standardize(drawn_tiles[0]))
    return normalizer


@pytest.fixture
def ours(reference: staintools.StainNormalizer) -> StaintoolsNormalizer:
    fit = StainFit(reference.stain_matrix_target, reference.maxC_target[0], 255.0)
    return StaintoolsNormalizer(StainFit.from_dict(fit.to_dict()))


def test_tiles_are_what_staintools_makes_of_them(ours, reference, drawn_tiles) -> None:
    found, possible = ours.transform(drawn_tiles)
    assert possible.all()
    expected = [reference.transform(standardize(tile)) for tile in drawn_tiles]
    np.testing.assert_array_equal(found, expected)
    single, _ = ours.transform(drawn_tiles[5:6])
    np.testing.assert_array_equal(single[0], found[5])


def test_threads_take_turns(ours, drawn_tiles) -> None:
    expected, _ = ours.transform(drawn_tiles)
    with ThreadPoolExecutor(4) as pool:
        for found, _ in pool.map(ours.transform, [drawn_tiles] * 4):
            np.testing.assert_array_equal(found, expected)


def test_tiles_without_two_stains_are_left_out(ours, drawn_tiles) -> None:
    batch = drawn_tiles[:5].copy()
    batch[0] = 250
    batch[2] = 0
    batch[3] = (200, 100, 150)
    expected, _ = ours.transform(drawn_tiles[[1, 4]])
    found, possible = ours.transform(batch)
    assert possible.tolist() == [False, True, False, False, True]
    np.testing.assert_array_equal(found, expected)
    none, possible = ours.transform(batch[:1])
    assert none.shape == (0, 64, 64, 3)
    assert not possible.any()


def test_the_versions_that_count_are_recorded() -> None:
    assert identity().keys() == {"staintools", "spams-bin"}


def test_a_package_that_is_absent_is_one_clear_line(monkeypatch, reference) -> None:
    monkeypatch.setitem(sys.modules, "staintools", None)
    fit = StainFit(reference.stain_matrix_target, reference.maxC_target[0], 255.0)
    with pytest.raises(PackageError, match=r"\(pip install staintools\)"):
        StaintoolsNormalizer(fit)
