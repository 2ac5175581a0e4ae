"""Networks by the architecture in a model's config."""

import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.nuclei.architectures import build_network, complete


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({"name": "resnet"}, "one of 'unet', 'mobilenet_unet'"),
        ({"name": "unet", "widths": 3}, "unexpected keyword"),
        ({"name": "mobilenet_unet", "widths": [8, 8]}, "widths must be 3 numbers"),
        ({"name": "mobilenet_unet", "zoom": 0}, "zoom must be 1 or more"),
        ({"name": "mobilenet_unet", "zoom": "large"}, "not supported between"),
    ],
    ids=str,
)
def test_an_architecture_that_cannot_be_built_is_told(architecture, message):
    with pytest.raises(DataError, match=message):
        build_network(architecture)


def test_nothing_is_left_to_defaults():
    found = complete({"name": "mobilenet_unet", "zoom": 2.0})
    assert found == {"name": "mobilenet_unet", "widths": [24, 40, 64], "zoom": 2.0}
