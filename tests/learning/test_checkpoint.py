import pytest
import torch

from qupath_hccmil.errors import ModelError, WriteError
from qupath_hccmil.learning.checkpoint import (
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from tests.held_files import mapped_files
from tests.no_room import no_file_above


def test_tensors_and_state_come_back(tmp_path):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"a": torch.arange(3)}, {"epoch": 2, "log": [{"loss": 0.1}]})
    tensors, state = load_checkpoint(path)
    assert tensors["a"].tolist() == [0, 1, 2]
    assert state == {"epoch": 2, "log": [{"loss": 0.1}]}
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


def test_a_checkpoint_that_was_read_can_be_replaced_on_windows(tmp_path):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"a": torch.arange(3)}, {"epoch": 2})
    tensors, _ = load_checkpoint(path)
    assert path.name not in mapped_files()
    assert tensors["a"].tolist() == [0, 1, 2]


def test_no_room_leaves_the_checkpoint_before(tmp_path):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"a": torch.arange(3)}, {"epoch": 2})
    with no_file_above(200), pytest.raises(WriteError, match="free some disk space"):
        save_checkpoint(path, {"a": torch.zeros(10_000)}, {"epoch": 3})
    assert load_checkpoint(path)[1] == {"epoch": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


def test_an_optimiser_goes_on_as_it_would_have():
    def run(steps, restore_after=None):
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 1)
        optimizer = torch.optim.Adam(layer.parameters())
        for step in range(steps):
            if step == restore_after:
                kept = {k: v.clone() for k, v in optimizer_tensors(optimizer).items()}
                optimizer = torch.optim.Adam(layer.parameters())
                restore_optimizer(optimizer, kept)
            optimizer.zero_grad()
            layer(torch.ones(2, 3)).square().sum().backward()
            optimizer.step()
        return layer.weight

    assert torch.equal(run(6), run(6, restore_after=3))


def test_refuses_another_file(tmp_path):
    (tmp_path / "c").write_bytes(b"no checkpoint")
    with pytest.raises(ModelError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "c")
