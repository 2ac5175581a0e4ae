"""Which slides there are to score, over several projects, and which of them are a shard's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from qupath_hccmil.errors import DataError, HccMilError, ProjectError
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.selection import choose_images, labels

_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class SlideTask:
    """One slide to score.

    Attributes
    ----------
    project : Path
        The ``.qpproj``.
    image_id : str
    image : str
        What to call the image.
    """

    project: Path
    image_id: str
    image: str


@dataclass(frozen=True)
class Shard:
    """One of `of` parts of the slides, of about the same size; `number` counts from 1."""

    number: int
    of: int

    @classmethod
    def from_text(cls, text: str) -> Shard:
        """Read ``3/40``.

        Raises
        ------
        ValueError
            It is not of this form, or there is no such part.
        """
        number, slash, of = text.partition("/")
        if not slash or not (number.isdecimal() and of.isdecimal()):
            raise ValueError(f"{text!r} is not a part such as 3/40")
        if not 1 <= int(number) <= int(of):
            raise ValueError(f"{text!r}: parts are numbered from 1 to {int(of)}")
        return cls(int(number), int(of))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def takes(self, place: int, project: int = 0) -> bool:
        """Whether a slide is of this part.

        It follows from the slide's own project alone: a machine that cannot read another project
        has the same part, so that no slide is left out or scored twice.

        Parameters
        ----------
        place : int
            Of the slide in its project, from 0.
        project : int
            Place of the project among those given, from 0. Projects begin with different parts,
            so that parts are of about the same size where projects are many and small.
        """
        first = _firsts(self.of)[project % self.of]
        return (first + place) % self.of == self.number - 1


@cache
def _firsts(of: int) -> list[int]:
    """With which part each of `of` projects begins, from 0: each with another one.

    Steps of the golden section put projects that follow each other far from each other, however
    many there are.
    """
    steps = sorted(range(of), key=lambda project: project * _GOLDEN % 1)
    return sorted(range(of), key=steps.__getitem__)


def slide_tasks(
    projects: Sequence[Path], patterns: Sequence[str] = (), shard: Shard | None = None
) -> tuple[list[SlideTask], dict[Path, str]]:
    """All slides of projects, in order. Only the projects' lists are read.

    Parameters
    ----------
    projects : sequence of Path
    patterns : sequence of str
        Names or glob patterns of images; empty takes all.
    shard : Shard, optional

    Returns
    -------
    list of SlideTask
    dict of Path to str
        Projects that cannot be used, and why.

    Raises
    ------
    ProjectError
        No project can be used.
    """
    tasks: list[SlideTask] = []
    wrong: dict[Path, str] = {}
    usable = False
    for number, path in enumerate(projects):
        try:
            with NativeProject(path, recover=False) as project:
                called = labels(project.images)
                tasks += [
                    SlideTask(project.path.absolute(), entry.id, called[entry.id])
                    for place, entry in enumerate(choose_images(project, patterns))
                    if shard is None or shard.takes(place, number)
                ]
                usable = True
        except HccMilError as error:
            wrong[path] = str(error)
    if not usable:
        raise ProjectError("; ".join(wrong.values()))
    return tasks, wrong


def project_paths(given: Iterable[Path], table: Path | None) -> list[Path]:
    """Projects named one by one and in a table, each once.

    Parameters
    ----------
    given : iterable of Path
    table : Path or None
        Table with a column ``project``: paths, where relative from the table's own folder.

    Raises
    ------
    DataError
        The table cannot be used.
    """
    paths = list(given)
    if table is not None:
        # It imports pandas, which a project that is named needs not.
        from qupath_hccmil.tables.table_reader import find_column, read_table

        frame = read_table(table).frame
        column = find_column(frame, table, "project", "the projects")
        named = frame[column].dropna()
        if not len(named):
            raise DataError(f"{table}: names no project in its column {column!r}")
        paths += [table.parent / each for each in named]
    return list({each.resolve(): each for each in reversed(paths)}.values())[::-1]
