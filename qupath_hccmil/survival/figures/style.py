"""The common style of all figures, and their conversion to SVG, PDF and PNG."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure

INK, GREY, FAINT = "#1f2933", "#616e7c", "#d5dbe1"
LOW, HIGH = "#2d6eb4", "#c8321e"
# Okabe and Ito's colours without yellow: distinct for most kinds of colour vision.
MARKERS = ("#c8321e", "#2d6eb4", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b5b95", "#8c8c3e")
DASHES = ("-", (0, (5, 2)), (0, (1, 1.4)), (0, (6, 2, 1, 2)), (0, (3, 1)), (0, (8, 3)))
_RAMP = LinearSegmentedColormap.from_list("risk", [LOW, "#8a63a8", HIGH])
_LOOK: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.title_fontsize": 8.5,
    "lines.linewidth": 1.7,
    "svg.fonttype": "path",
    "svg.hashsalt": "qupath-hccmil",
    "pdf.fonttype": 42,  # TrueType, as journals ask
}
P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw with our style, whatever the user's matplotlib settings are."""

    @functools.wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(_LOOK)  # type: ignore[call-overload, arg-type, unused-ignore]
            return draw(*args, **kwargs)

    return inner


def canvas(width: float = 5.2, height: float = 3.6) -> tuple[Figure, Axes]:
    """Make a figure (inches) with one pair of axes, without the global state of pyplot."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.07, h_pad=0.07)  # type: ignore[union-attr,call-arg]
    return figure, figure.add_subplot()


class Drawing:
    """A figure that is drawn when a format is asked for; the same figure gives the same bytes."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure

    @functools.cached_property
    def svg(self) -> str:
        """As SVG text, with letters as outlines."""
        drawn = self._drawn("svg", metadata={"Date": None, "Creator": None})
        return drawn.decode("utf-8").replace("\r\n", "\n")

    @property
    def pdf(self) -> bytes:
        """As PDF, with its fonts embedded."""
        return self._drawn("pdf", metadata={"CreationDate": None, "Creator": None})

    def png(self, dpi: int = 300) -> bytes:
        """As PNG of so many pixels per inch."""
        return self._drawn("png", dpi=dpi, metadata={"Software": None})

    @property
    def width(self) -> float:
        """Width in inches."""
        return float(self.figure.get_figwidth())

    def _drawn(self, kind: str, **options: Any) -> bytes:
        buffer = io.BytesIO()
        with mpl.rc_context(), warnings.catch_warnings():
            # A letter that the font lacks is drawn as a box; the text of the report has it too.
            warnings.filterwarnings("ignore", "Glyph ")
            mpl.rcdefaults()
            mpl.rcParams.update(_LOOK)  # type: ignore[call-overload, arg-type, unused-ignore]
            self.figure.savefig(buffer, format=kind, **options)
        return buffer.getvalue()


def group_colours(count: int) -> list[str]:
    """Colours from low to high risk; a single group is drawn in ink."""
    if count == 1:
        return [INK]
    return [to_hex(_RAMP(index / (count - 1))) for index in range(count)]


def plain(text: str, most: int = 60) -> str:
    """Make a text from the data safe for a label: no formulas, and not too long."""
    text = " ".join(str(text).split())
    short = text if len(text) <= most else f"{text[: most - 1]}…"
    return short.replace("$", r"\$")


def pretty_p(p: float) -> str:
    """Write a p-value as journals do."""
    if p != p:
        return "p not defined"
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
