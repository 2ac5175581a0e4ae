"""The contact sheet: both panels, a true scale bar, a caption as text, the same every time."""

import re
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from qupath_hccmil.tiles_of_interest.contact_sheet import SHEET_TILES, Panel, draw_contact_sheet

AMBER, TEAL = "#e69f00", "#009e73"


def pictures(count, grey):
    return [np.full((64, 64, 3), grey, np.uint8)] * count


def drawn(high=12, low=12, side_um=128.0, caption="Model m."):
    panels = [
        Panel("A  Highest tiles", AMBER, pictures(high, 90)),
        Panel("B  Lowest tiles", TEAL, pictures(low, 170)),
    ]
    return draw_contact_sheet(panels, side_um, caption)


def pixels(sheet):
    with Image.open(BytesIO(sheet["png"])) as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        return np.asarray(image.convert("RGB")).astype(int)


def longest_run(mask):
    """Longest run of True in any row."""
    best = 0
    for row in mask:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
        best = max([best, *(edges[1::2] - edges[::2])])
    return best


def test_both_panels_have_all_their_tiles():
    image = pixels(drawn(high=12, low=7))
    cell = (image.shape[1] - 2 * 0.08 * 300) / (10 - 0.06) * 0.94
    for grey, count in ((90, 12), (170, 7)):
        area = (np.abs(image - grey).max(axis=2) <= 2).sum()
        assert area == pytest.approx(count * cell**2, rel=0.06)
    assert image.shape[1] == pytest.approx(180 / 25.4 * 300, abs=1)


def test_no_more_than_can_be_read_are_shown():
    few, many = pixels(drawn(high=SHEET_TILES)), pixels(drawn(high=SHEET_TILES + 30))
    assert few.shape == many.shape


@pytest.mark.parametrize(("side_um", "bar_um"), [(128.0, 50), (256.0, 100), (30.0, 10)])
def test_the_scale_bar_is_as_long_as_it_says(side_um, bar_um):
    image = pixels(drawn(side_um=side_um))
    cell = (image.shape[1] - 2 * 0.08 * 300) / (10 - 0.06) * 0.94
    inside = image[: image.shape[0] // 2, : int(cell + 0.08 * 300)][100:]
    length = longest_run(inside.max(axis=2) < 30)
    assert length == pytest.approx(bar_um / side_um * cell, abs=3)


def test_a_few_tiles_are_not_blown_up():
    image = pixels(drawn(high=1, low=1))
    assert longest_run(np.abs(image - 90).max(axis=2) <= 2) <= 1.2 * 300


def test_one_side_may_lack_pictures():
    assert pixels(drawn(high=3, low=0)).size


def test_the_same_every_time_and_text_is_text():
    caption = "Model hcc-risk (weights abc), $x_1$ 肝."
    one, two = drawn(caption=caption), drawn(caption=caption)
    assert one == two
    streams = re.findall(rb"stream\r?\n(.*?)endstream", one["pdf"], flags=re.DOTALL)
    text = b"".join(zlib.decompress(each) for each in streams if each[:1] == b"x")
    assert b"BT" in text  # text is drawn as text
    assert b"/Type /Font" in one["pdf"]
    assert b"CreationDate" not in one["pdf"]
