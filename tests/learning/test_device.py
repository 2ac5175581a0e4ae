"""Mixed precision is for CUDA; everywhere else it changes nothing."""

import pytest
import torch

from qupath_hccmil.errors import ModelError
from qupath_hccmil.learning.device import MixedPrecision, training_device


def test_a_device_that_is_not_there_is_said_so():
    assert training_device("cpu").type == "cpu"
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="device cuda is not available here"):
            training_device("cuda")


def test_on_a_cpu_nothing_changes():
    precision = MixedPrecision(torch.device("cpu"))
    x = torch.full((2, 2), 1.0001)
    with precision.autocast():
        assert (x @ x).dtype == torch.float32
    assert precision.state() == {}
    assert precision.scaler.scale(x) is x
    precision.restore({})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_on_cuda_matrices_multiply_in_half_precision():
    device = training_device("cuda")
    precision = MixedPrecision(device)
    x = torch.ones(2, 2, device=device)
    with precision.autocast():
        assert (x @ x).dtype in (torch.bfloat16, torch.float16)
    assert isinstance(precision.state(), dict)
