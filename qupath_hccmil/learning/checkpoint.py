"""The state of a training in one file, so that a killed training can be continued.

A checkpoint is a safetensors file with the JSON state in its header; no pickle is used. It is
written to a new file and then renamed, so that the previous checkpoint survives a kill.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.errors import DataError, ModelError, WriteError
from qupath_hccmil.learning.training_log import write_log

CHECKPOINT = "checkpoint.safetensors"
_STATE_KEY = "state"


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors and a state that can be JSON, atomically.

    Raises
    ------
    WriteError
        The system refuses; the previous checkpoint is still there.
    """
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        with atomic_file(path) as new:
            save_file(on_cpu, new, metadata={_STATE_KEY: json.dumps(state)})
    except (WriteError, SafetensorError) as error:
        raise WriteError(
            f"{path}: cannot be written: {error}; free some disk space, then run the same command "
            "again to continue"
        ) from error


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`save_checkpoint` wrote.

    Raises
    ------
    ModelError
        The file is not a checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {})[_STATE_KEY])
            # copies, because a tensor of safetensors is the mapped file itself, which Windows
            # then lets nobody replace, this training included
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return tensors, state
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ModelError(
            f"{path}: not a checkpoint of a training ({error}); remove it to start again"
        ) from error


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Moments and step counts of an optimiser, named by parameter index and name."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, values in state.items()
        for name, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the moments and step counts from :func:`optimizer_tensors` in an optimiser."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors to ``prefix.name``."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that :func:`with_prefix` renamed, under their own names."""
    start = len(prefix) + 1
    return {
        name[start:]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")
    }


class TrainingState:
    """Everything that a training needs in order to continue after a kill as if uninterrupted.

    Parameters
    ----------
    networks : mapping of str to nn.Module
        All networks, by name.
    judged : str
        Name of the network that is evaluated.
    optimizer : torch.optim.Optimizer
    settings : mapping
        Settings of the training, for people who look into the file.
    fingerprint : str
        Fingerprint of settings, data and starting weights; a checkpoint with another fingerprint
        is refused.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        judged: str,
        optimizer: torch.optim.Optimizer,
        settings: Mapping[str, Any],
        fingerprint: str,
    ) -> None:
        self._networks = dict(networks)
        self._judged = judged
        self._settings = dict(settings)
        self.optimizer = optimizer
        self.fingerprint = fingerprint
        self.epoch, self.best_epoch = 0, 0
        self.best: dict[str, Tensor] = {}
        self.log: list[dict[str, float]] = []
        # Further state of a training; it must be valid JSON.
        self.extra: dict[str, Any] = {}

    def resume(self, out: Path, curves: Mapping[str, str]) -> None:
        """Go on from the checkpoint in a folder, if it has one; the folder is made if absent.

        Parameters
        ----------
        out : Path
        curves : mapping of str to str
            See :func:`~qupath_hccmil.learning.training_log.write_log`.

        Raises
        ------
        DataError
            It is from a training with other settings, data or start.
        """
        out.mkdir(parents=True, exist_ok=True)
        if (out / CHECKPOINT).exists():
            self.load(out / CHECKPOINT)
            # A kill may have come between the checkpoint and the log.
            write_log(out, self.log, curves)

    def end_epoch(
        self,
        out: Path,
        curves: Mapping[str, str],
        row: dict[str, float],
        figure: str,
        *,
        higher: bool,
    ) -> None:
        """Log an epoch, keep its network if it is the best so far, and write both to a folder.

        Parameters
        ----------
        out, curves
            See :meth:`resume`.
        row : dict of str to float
            Of the log.
        figure : str
            Column that judges an epoch.
        higher : bool
            A higher figure is better.
        """
        self.keep(row, figure, higher=higher)
        self.save(out / CHECKPOINT)
        write_log(out, self.log, curves)

    def keep(self, row: dict[str, float], figure: str, *, higher: bool) -> None:
        """Log an epoch, and keep the evaluated network if its figure is the best so far."""
        sign = 1.0 if higher else -1.0
        best = max((sign * before[figure] for before in self.log), default=-float("inf"))
        self.log.append(row)
        if sign * row[figure] > best:
            self.best_epoch = self.epoch
            judged = self._networks[self._judged].state_dict()
            self.best = {name: tensor.clone() for name, tensor in judged.items()}

    def save(self, path: Path) -> None:
        """Write the checkpoint."""
        tensors = {
            **with_prefix("best", self.best),
            **with_prefix("optimizer", optimizer_tensors(self.optimizer)),
        }
        for name, network in self._networks.items():
            tensors |= with_prefix(name, network.state_dict())
        state = {
            "settings": self._settings,
            "fingerprint": self.fingerprint,
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "log": self.log,
            "extra": self.extra,
        }
        save_checkpoint(path, tensors, state)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint.

        Raises
        ------
        DataError
            It belongs to a training with other settings, data or starting weights.
        """
        tensors, state = load_checkpoint(path)
        if state.get("fingerprint") != self.fingerprint:
            raise DataError(
                f"{path}: belongs to a training with other settings, data or starting weights; "
                "use the same ones, give another --out, or remove it"
            )
        for name, network in self._networks.items():
            network.load_state_dict(without_prefix(name, tensors))
        self.best = without_prefix("best", tensors)
        restore_optimizer(self.optimizer, without_prefix("optimizer", tensors))
        self.epoch, self.best_epoch = state["epoch"], state["best_epoch"]
        self.log = state["log"]
        self.extra = state.get("extra", {})
