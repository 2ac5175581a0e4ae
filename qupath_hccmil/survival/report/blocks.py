"""What a report is made of: paragraphs, tables and figures in sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from qupath_hccmil.survival.figures.style import Drawing


@dataclass(frozen=True)
class Text:
    """A paragraph; ``kind`` is ``plain``, ``note`` (small) or ``warning``."""

    text: str
    kind: str = "plain"


@dataclass(frozen=True)
class Table:
    """A table as shown and as data.

    Attributes
    ----------
    key : str
        Name of its CSV file, without suffix.
    caption : str
    header : sequence of str
    rows : sequence of sequence of str
        As shown. A row whose cells after the first are empty is a heading.
    data : DataFrame
        As written to CSV, in full precision.
    note : str
    wide_text : bool
        The columns hold text that wraps, not numbers.
    places : sequence of sequence of (str, str)
        For each row of a checklist, the sections that it refers to: key and name. They are shown in
        the last column.
    """

    key: str
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    data: pd.DataFrame
    note: str = ""
    wide_text: bool = False
    places: Sequence[Sequence[tuple[str, str]]] = ()


@dataclass(frozen=True)
class Image:
    """A figure, with what it shows in words."""

    key: str
    caption: str
    drawing: Drawing
    alt: str


@dataclass(frozen=True)
class Images:
    """Figures side by side where there is room; ``size`` is ``small``, ``medium`` or ``large``."""

    images: Sequence[Image]
    size: str = "medium"


Block = Text | Table | Images


@dataclass
class Section:
    """A numbered part of the report."""

    key: str
    title: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True)
class Fact:
    """A number that stands at the top: what, how much, and its interval or unit."""

    label: str
    value: str
    detail: str = ""


@dataclass
class Report:
    """Everything that is rendered.

    Attributes
    ----------
    title, subtitle : str
    facts : list of Fact
    warnings : list of str
        What to know first: how the tables were read, what was found, and what could not be done.
    found : list of str
        Those of the warnings that only the results show, for the screen, too.
    sections : list of Section
    footer : list of str
    """

    title: str
    subtitle: str
    facts: list[Fact]
    warnings: list[str]
    found: list[str]
    sections: list[Section]
    footer: list[str]

    def tables(self) -> list[Table]:
        """List all tables in order."""
        return [b for s in self.sections for b in s.blocks if isinstance(b, Table)]

    def images(self) -> list[Image]:
        """List all figures in order."""
        groups = [b for s in self.sections for b in s.blocks if isinstance(b, Images)]
        return [image for group in groups for image in group.images]
