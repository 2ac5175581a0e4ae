"""Any tree of objects that can be built: read as it was written, scored, cleared to the byte."""

import random
import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import box

from qupath_hccmil.errors import HccMilError
from qupath_hccmil.qupath.native import measurements
from qupath_hccmil.qupath.native.javanodes import JavaObject, JavaString, Part, block
from qupath_hccmil.qupath.native.javastream import serialise
from qupath_hccmil.qupath.native.native_results import (
    add_results,
    counts,
    name_pool,
    read_data,
    remove_results,
)
from qupath_hccmil.qupath.native.newdata import NewAnnotation, new_data
from qupath_hccmil.qupath.native.pathobjects import (
    ANNOTATION,
    PathObject,
    full_class_name,
    walk,
    walk_unparsed,
)
from qupath_hccmil.qupath.native.qpdata import QpData
from qupath_hccmil.qupath.native.rois import rectangle_node
from qupath_hccmil.qupath.results_comparison import same_results
from tests.qupath.big_image import CellMaker
from tests.qupath.big_results import some_results
from tests.qupath.shapes import HOLED

NAMES = ["Area µm^2", "Mean: DAB", "ünï", "a\0b", "HCC but not ours"]


class Objects:
    """Random objects with all that QuPath gives them, shared as it shares or not shared at all."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        outlines = [
            NewAnnotation(rng.choice([HOLED, box(0, 0, 9, 9)]), rng.choice(["Tumor", "A: B", None]))
            for _ in range(rng.randint(1, 3))
        ]
        content = new_data({}, outlines, qupath_version="0.6.0", entry_path="a::1", data_path="d")
        self.data = QpData(content)
        self.pool = name_pool(self.data)
        self.book = self.pool.book
        self.parents = [view for view, _ in walk(self.data.root)]
        self.maker = CellMaker(self.book, self.parents[1].node)
        self.texts = [JavaString.of(name) for name in ("one", "two", "ünï 🙂")]
        self.classes = [
            None,
            self.maker.path_class,
            self.book.object(
                "qupath.lib.objects.classes.PathClass",
                self.book.integer(-1),
                self.texts[0],
                self.maker.path_class,
            ),
        ]
        self.flags = [self.maker.false, self.book.boolean(True)]

    def fill(self) -> QpData:
        for _ in range(self.rng.randint(0, 8)):
            parent = self.rng.choice(self.parents)
            burst = self.rng.choice([self.same, self.mixed])(self.rng.choice([1, 3, 20, 60]))
            children = [*parent.children, *burst]
            if self.rng.random() < 0.3:
                self.rng.shuffle(children)
            parent.children = children
            self.parents.append(PathObject(self.rng.choice(burst)))
        return self.data

    def same(self, count: int) -> list[JavaObject]:
        """Many of one kind."""
        made = [self.maker.cell(self.rng.randint(3, 6)) for _ in range(count)]
        change = self.rng.choice(self.changes)
        for node in made:
            change(self, node.parts)
        return made

    def mixed(self, count: int) -> list[JavaObject]:
        """Each of its own kind."""
        made = [self.maker.cell(self.rng.randint(3, 6)) for _ in range(count)]
        for node in made:
            for _ in range(self.rng.randint(0, 3)):
                self.rng.choice(self.changes)(self, node.parts)
        return made

    def named(self, parts: list[Part]) -> None:
        own = JavaString.of("x" * self.rng.randint(0, 40))
        parts[0] = self.rng.choice([own, *self.texts])

    def coloured(self, parts: list[Part]) -> None:
        parts[1] = self.book.integer(self.rng.randint(-(2**31), 2**31 - 1))

    def measured(self, parts: list[Part]) -> None:
        names = self.rng.sample(NAMES, self.rng.randint(0, len(NAMES)))
        values = [self.rng.choice([0.0, -0.0, 1.5, float("nan"), float("inf")]) for _ in names]
        if self.rng.random() < 0.5:
            parts[3] = self.pool.general_list(dict(zip(names, values, strict=True)))
        else:
            parts[3] = self.pool.float_list(names, struct.pack(f">{len(names)}f", *values))

    def unmeasured(self, parts: list[Part]) -> None:
        parts[3] = None

    def locked(self, parts: list[Part]) -> None:
        parts[5] = self.rng.choice(self.flags)

    def classified(self, parts: list[Part]) -> None:
        parts[6] = self.rng.choice(self.classes)

    def bounded(self, parts: list[Part]) -> None:
        x, y = self.rng.random() * 1000, self.rng.random() * 1000
        parts[7] = rectangle_node(self.book, (x, y, 5.0, 7.0), (-1, 0, 0))

    def probable(self, parts: list[Part]) -> None:
        parts[8] = block(struct.pack(">d", self.rng.random()))

    def without_nucleus(self, parts: list[Part]) -> None:
        parts[9] = None

    changes = (
        named,
        coloured,
        measured,
        unmeasured,
        locked,
        classified,
        bounded,
        probable,
        without_nucleus,
    )


def described(data: QpData) -> list[tuple[object, ...]]:
    """Each object with all that can be asked of it."""
    return [
        (
            view.kind,
            view.id,
            parent.id if parent else None,
            view.name,
            view.colour,
            repr(measurements.read(view.measurements)),
            *(
                (
                    view.locked,
                    full_class_name(view.path_class),
                    serialise([view.roi]),
                    [serialise([each]) for each in view.extras],
                )
                if parent
                else ()
            ),
        )
        for view, parent in walk(data.root)
    ]


@settings(max_examples=12, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_tree_is_read_as_it_was_written(rng: random.Random) -> None:
    data = Objects(rng).fill()
    content = data.to_bytes()
    again = QpData(content)
    assert again.to_bytes() == content
    assert counts(again) == counts(data)
    assert read_data(again)[1] == read_data(data)[1]
    assert again.to_bytes() == content
    assert described(again) == described(data)
    # with a node for each object, too
    assert again.to_bytes() == content


@settings(max_examples=12, deadline=None)
@given(st.randoms(use_true_random=False))
def test_unparsed_objects_can_be_moved_and_taken_out(rng: random.Random) -> None:
    """What is mentioned before it is described is described where it is mentioned first."""
    content = Objects(rng).fill().to_bytes()
    data = QpData(content)
    for group in walk_unparsed(data.root):
        if not group.unparsed:
            pieces = group.view.children
            rng.shuffle(pieces)
            group.view.children = pieces[: rng.choice([len(pieces), max(len(pieces) - 1, 0)])]
    written = data.to_bytes()
    again = QpData(written)
    assert again.to_bytes() == written
    original = {each[1]: each[3:] for each in described(QpData(content))}
    moved = described(again)
    assert [each[3:] for each in moved] == [original[each[1]] for each in moved]
    assert counts(again)["nObjects"] == len(moved)


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_tree_is_scored_and_cleared_to_the_byte(rng: random.Random) -> None:
    content = Objects(rng).fill().to_bytes()
    data = QpData(content)
    outlines = [group for group in walk_unparsed(data.root) if group.view.kind == ANNOTATION]
    results = some_results(
        list(range(len(outlines))), rng.choice([2, 20]), missing=rng.random() < 0.5
    )
    add_results(data, results)
    scored = QpData(data.to_bytes())
    assert same_results(read_data(scored)[2], results)
    remove_results(scored)
    assert scored.to_bytes() == content


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_a_damaged_tree_is_refused_or_comes_back_the_same(rng: random.Random) -> None:
    content = bytearray(Objects(rng).fill().to_bytes())
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(content))
        content[at] = rng.choice([rng.randrange(256), content[at] ^ 1 << rng.randrange(8)])
    if rng.random() < 0.2:
        del content[rng.randrange(len(content)) :]
    try:
        data = QpData(bytes(content))
        read_data(data)
    except HccMilError:
        return
    assert data.to_bytes() == content
    assert counts(data)["nObjects"] > 0
