"""The reference that ships is usable and can be made anew."""

import numpy as np
from PIL import Image

from qupath_hccmil.stain.reference import default_reference, fit_reference
from qupath_hccmil.stain.vahadane import Normalizer, fit


def test_default_reference_is_haematoxylin_and_eosin() -> None:
    haematoxylin, eosin = default_reference().matrix
    assert haematoxylin[0] > eosin[0]
    assert haematoxylin.argmax() in (0, 1)
    assert eosin.argmax() == 1


def test_a_slide_fits_to_it(drawn_tiles: np.ndarray) -> None:
    normalised = Normalizer(fit(drawn_tiles), default_reference()).transform(drawn_tiles)
    reached = fit(normalised).max_concentration
    np.testing.assert_allclose(reached, default_reference().max_concentration, rtol=0.15)


def test_pools_images_of_any_size(drawn_tiles: np.ndarray) -> None:
    images = [
        drawn_tiles[0],
        drawn_tiles[1:5].reshape(-1, 64, 3),
        drawn_tiles[5:].reshape(1, -1, 3),
    ]
    assert fit_reference(images).to_dict() == fit(drawn_tiles).to_dict()


def test_default_reference_is_of_the_pixels_it_names(slide_pixels: np.ndarray) -> None:
    image = Image.fromarray(slide_pixels[2070:2967, 640:1153])
    side = 128 / 0.499
    size = [round(length * 224 / side) for length in image.size]
    found = fit_reference([np.asarray(image.resize(size, Image.Resampling.BILINEAR))])
    expected = default_reference()
    # Not bit for bit: JPEG decoders and C libraries differ from platform to platform.
    np.testing.assert_allclose(found.matrix, expected.matrix, atol=1e-2)
    np.testing.assert_allclose(found.max_concentration, expected.max_concentration, rtol=2e-2)
    assert found.luminosity == expected.luminosity
