"""The picture of the tile grid that the map is painted from, without a window."""

from tests.extension.groovy_process import GroovyProcess

PAINT = """
import java.awt.AlphaComposite
import java.awt.Color
import java.awt.geom.Rectangle2D
import java.awt.image.BufferedImage

def places = bounds.collect { new Bounds(*(it.collect { each -> each as double })) }
def grid = new TileGrid(places, colours as int[])
def paper = new BufferedImage(120, 60, BufferedImage.TYPE_INT_RGB)
def g = paper.createGraphics()
g.color = Color.WHITE
g.fillRect(0, 0, 120, 60)
// ten level-0 px are one px here
g.scale(0.1, 0.1)
paint(grid, g, places)
def at = { double x, double y -> paper.getRGB((int) (x / 10), (int) (y / 10)) & 0xFFFFFF }
[points.collect { x, y -> at(x, y) }, grid.others.values() as List]
"""
# two rows of tiles of 100.25 × 99.5 px, one of which is missing, and one that was moved
WIDTH, HEIGHT = 100.25, 99.5
PLACES = ((2, 1), (3, 1), (2, 2), (5, 2))
BOUNDS = [[WIDTH * column, HEIGHT * row, WIDTH, HEIGHT] for column, row in PLACES]
BOUNDS.append([800, 310, WIDTH, HEIGHT])
COLOURS = [0xFF0000, 0x00FF00, 0x0000FF, 0x123456, 0x777777]
WHITE = 0xFFFFFF


ALL = "new Rectangle2D.Double(0, 0, 1200, 600)"


def fill(except_for: str) -> str:
    return f"grid.fill(g, {except_for})"


def centre(bounds: list[float]) -> list[float]:
    return [bounds[0] + bounds[2] / 2, bounds[1] + bounds[3] / 2]


def painted(groovy_process: GroovyProcess, how: str, points: list[list[float]]) -> list:
    code = PAINT.replace("paint(grid, g, places)", how)
    return groovy_process(code, bounds=BOUNDS, colours=COLOURS, points=points)


def test_each_tile_has_its_colour_up_to_its_edges(groovy_process):
    points = [centre(each) for each in BOUNDS]
    # just inside the first tile's corners, and the places without a tile next to it
    points += [[WIDTH * 2 + 10, HEIGHT + 10], [WIDTH * 3 - 11, HEIGHT * 2 - 11]]
    points += [[WIDTH * 1.5, HEIGHT * 1.5], [WIDTH * 3.5, HEIGHT * 2.5]]
    found, others = painted(groovy_process, fill("null"), points)
    assert found == [*COLOURS[:4], WHITE, COLOURS[0], COLOURS[0], WHITE, WHITE]
    # a tile that is not on the grid is left to be painted by itself
    assert others == [COLOURS[4]]


def test_the_current_tile_is_left_out_once(groovy_process):
    points = [centre(each) for each in BOUNDS[:3]]
    found, _ = painted(groovy_process, fill("places[1]"), points)
    assert found == [COLOURS[0], WHITE, COLOURS[2]]
    again = f"{fill('places[1]')}; {fill('null')}"
    found, _ = painted(groovy_process, again, points)
    assert found == COLOURS[:3]


def test_a_frame_leaves_the_tissue_visible_and_only_tiles_in_view_have_one(groovy_process):
    inside, edge = centre(BOUNDS[0]), [WIDTH * 2 + 10, HEIGHT * 1.5]
    elsewhere = [WIDTH * 5 + 10, HEIGHT * 2.5]
    seen = "new Rectangle2D.Double(0, 0, 350, 300)"
    found, _ = painted(groovy_process, f"grid.frame(g, {seen}, 20)", [inside, edge, elsewhere])
    assert found == [WHITE, COLOURS[0], WHITE]


def test_without_tiles_nothing_is_painted(groovy_process):
    empty = f"grid = new TileGrid([], new int[0]); {fill('null')}; grid.frame(g, {ALL}, 20)"
    found, _ = painted(groovy_process, empty, [centre(BOUNDS[0])])
    assert found == [WHITE]
