"""The log of a training, as a CSV table and as curves in a PNG file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.tables.table_writer import write_rows

LOG, CURVE = "log.csv", "curve.png"


def write_log(out: Path, log: Sequence[Mapping[str, float]], curves: Mapping[str, str]) -> None:
    """Write ``log.csv`` and ``curve.png`` into a folder.

    Parameters
    ----------
    out : Path
    log : sequence of mapping
        One row per epoch, each with the key ``epoch``. Nothing is written if there are none.
    curves : mapping of str to str
        The columns to draw, each with its label.
    """
    if not log:
        return
    names = list(log[0])
    write_rows(out / LOG, names, ([row.get(name) for name in names] for row in log))
    with atomic_file(out / CURVE) as beside:
        _draw(beside, log, curves)


def _draw(path: Path, log: Sequence[Mapping[str, float]], curves: Mapping[str, str]) -> None:
    # pyplot is not used, because it would choose a window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    epochs = [row["epoch"] for row in log]
    for column, label in curves.items():
        axes.plot(epochs, [row[column] for row in log], label=label)
    axes.set(xlabel="epoch", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=120)
