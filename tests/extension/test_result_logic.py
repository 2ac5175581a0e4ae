"""The result of a run as words, from the record that the command writes, without a window."""

from dataclasses import replace

import numpy as np
import pytest
import shapely

from qupath_hccmil.qupath.run_record import OutlineRecord, RunRecord
from qupath_hccmil.tiles.grid import tile_grid, unique_tiles

RECORD = RunRecord(
    risk=0.1056,
    logit=-2.1,
    group="low",
    tiles=1033,
    p=3.0,
    threshold=0.4457,
    model="hcc-risk-surrogate",
    surrogate=True,
    weights_sha256="6d08",
    settings_sha256="a02f",
    version="0.1.0",
    time="2026-11-27T02:03:02+00:00",
    mpp=0.2527,
    mpp_source="file",
    fingerprint="b9a2",
    settings={"mpp": None, "min_inside": 0.5, "max_tiles": None, "annotation_classes": ["Tumor"]},
    outlines=(OutlineRecord(0, "u-1", "f", 1033, 12, 1), OutlineRecord(3, "u-2", "f", 0, 2, 0)),
    stain={},
    background=13,
    blurred=1,
)


def test_the_record_is_read_as_the_command_writes_it(groovy_process):
    facts = groovy_process(
        """
        def facts = RunFacts.read(record)
        [facts.risk, facts.group, facts.high, facts.threshold, facts.model, facts.surrogate,
         facts.weights, facts.tiles, facts.outlines*.id, facts.pixelSize(),
         facts.when(java.time.ZoneId.of('Asia/Tokyo')), facts.leftOut()]
        """,
        record=RECORD.to_parameter(),
    )
    assert facts == [
        0.1056,
        "low",
        False,
        0.4457,
        "hcc-risk-surrogate",
        True,
        "6d08",
        1033,
        ["u-1", "u-2"],
        "0.2527 µm per px, from the slide file",
        "2026-11-27 11:03",
        [
            "13 tiles with almost no tissue (background)",
            "1 tile out of focus",
            "1 outline without a tile",
        ],
    ]


def test_a_limit_of_tiles_and_tiles_of_the_user_are_said(groovy_process):
    settings = {**RECORD.settings, "max_tiles": 1500}
    left = replace(RECORD.outlines[0], left=2)
    record = replace(RECORD, settings=settings, outlines=(left,), background=0, blurred=0)
    lines = groovy_process("RunFacts.read(record).leftOut()", record=record.to_parameter())
    assert lines == [
        "2 tiles scored, but not written, because you gave them another class",
        "of the rest, at most 1,500 tiles were chosen at random (--max-tiles)",
    ]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1}'])
def test_a_record_that_is_not_understood_is_none(groovy_process, text: str):
    assert groovy_process("RunFacts.read(record) == null", record=text)


@pytest.mark.parametrize("min_inside", [0.5, 0.9])
def test_places_that_were_left_out_are_those_of_the_command_s_grid(
    groovy_process, min_inside: float
):
    rng = np.random.default_rng(3)
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    radii = rng.uniform(900, 2400, 60)
    blob = shapely.Polygon(np.c_[2600 + radii * np.cos(angles), 2300 + radii * np.sin(angles)])
    outlines = [blob, shapely.box(0, 0, 1200.5, 800)]
    bounds, _ = unique_tiles(tile_grid(outlines, 256.25, 255.5, 5000, 4600, min_inside))
    kept = rng.random(len(bounds)) < 0.7
    found = groovy_process(
        """
        def reader = new org.locationtech.jts.io.WKTReader()
        def there = tiles.collect { new Bounds(*(it.collect { each -> each as double })) }
        LeftOut.places(outlines.collect { reader.read(it) }, there, share as double, 5000, 4600)
            .collect { it.numbers() }
        """,
        outlines=[each.wkt for each in outlines],
        tiles=bounds[kept].tolist(),
        share=min_inside,
    )
    assert len(found) == (~kept).sum() > 20
    np.testing.assert_allclose(sorted(found), sorted(bounds[~kept].tolist()), atol=1e-3)
