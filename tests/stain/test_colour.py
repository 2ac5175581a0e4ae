"""Colour conversions are those of staintools, bit for bit."""

import numpy as np
from staintools import LuminosityStandardizer
from staintools.miscellaneous.optical_density_conversion import convert_RGB_to_OD
from staintools.tissue_masks.luminosity_threshold_tissue_locator import (
    LuminosityThresholdTissueLocator,
)

from qupath_hccmil.stain.colour import (
    luminosity_percentile,
    optical_density,
    standardise_luminosity,
    tissue_mask,
)


def test_equals_staintools(drawn_tiles: np.ndarray) -> None:
    image = drawn_tiles[0]
    pixels = image.reshape(-1, 3)

    standardised = standardise_luminosity(pixels, luminosity_percentile(pixels))
    np.testing.assert_array_equal(
        standardised.reshape(image.shape), LuminosityStandardizer.standardize(image)
    )
    np.testing.assert_array_equal(optical_density(pixels).T, convert_RGB_to_OD(pixels.copy()))
    np.testing.assert_array_equal(
        tissue_mask(pixels).reshape(image.shape[:2]),
        LuminosityThresholdTissueLocator.get_tissue_mask(image),
    )


def test_a_colour_does_not_depend_on_its_place() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (10_007, 3), dtype=np.uint8)
    whole = standardise_luminosity(pixels, 231.0)
    parts = [standardise_luminosity(part, 231.0) for part in np.array_split(pixels, 371)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
