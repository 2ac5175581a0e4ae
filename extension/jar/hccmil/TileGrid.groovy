package hccmil

import groovy.transform.CompileStatic
import java.awt.Color
import java.awt.Graphics2D
import java.awt.RenderingHints
import java.awt.geom.AffineTransform
import java.awt.geom.Rectangle2D
import java.awt.image.BufferedImage

/**
 * Colours of tiles on the slide's tile grid, as a picture with one pixel per tile.
 *
 * <p>QuPath paints the whole viewer in every frame of panning. One stretched picture takes a few
 * milliseconds, 20,000 rectangles take a hundred, and even few rectangles take longer.
 */
@CompileStatic
class TileGrid {
    // share of a tile; corners are rounded to the thousandth of a px
    private static final double TOLERANCE = 0.01d
    private static final int OPAQUE = 0xFF000000 as int

    /** Tiles that are not on the grid of the others, such as one that the user moved. */
    final Map<Bounds, Integer> others = [:]
    private double width = 1d
    private double height = 1d
    private int left
    private int top
    private BufferedImage picture

    /** @param colours colour of each tile, packed RGB */
    TileGrid(List<Bounds> places, int[] colours) {
        if (places.empty) {
            return
        }
        width = places.first().width
        height = places.first().height
        int right = Integer.MIN_VALUE
        int bottom = Integer.MIN_VALUE
        left = Integer.MAX_VALUE
        top = Integer.MAX_VALUE
        for (Bounds place : places) {
            if (isOnGrid(place)) {
                left = Math.min(left, column(place))
                right = Math.max(right, column(place))
                top = Math.min(top, row(place))
                bottom = Math.max(bottom, row(place))
            }
        }
        if (right >= left) {
            picture = new BufferedImage(
                right - left + 1, bottom - top + 1, BufferedImage.TYPE_INT_ARGB_PRE)
        }
        for (int at = 0; at < colours.length; at++) {
            Bounds place = places[at]
            if (isOnGrid(place)) {
                picture.setRGB(column(place) - left, row(place) - top, OPAQUE | colours[at])
            } else {
                others[place] = colours[at]
            }
        }
    }

    /** Width of a tile in level-0 px. */
    double getTileWidth() {
        width
    }

    /** Fills all tiles except one, which may be null. */
    void fill(Graphics2D g, Bounds except) {
        if (picture == null) {
            return
        }
        Integer kept = colourAt(except)
        if (kept != null) {
            picture.setRGB(column(except) - left, row(except) - top, 0)
        }
        g.setRenderingHint(RenderingHints.KEY_INTERPOLATION,
            RenderingHints.VALUE_INTERPOLATION_NEAREST_NEIGHBOR)
        g.drawImage(picture,
            new AffineTransform(width, 0d, 0d, height, left * width, top * height), null)
        if (kept != null) {
            picture.setRGB(column(except) - left, row(except) - top, OPAQUE | kept)
        }
    }

    /** Colour of a tile, packed RGB; null if there is no such tile on the grid. */
    Integer colourAt(Bounds place) {
        place == null || picture == null || !isOnGrid(place) ? null
            : colour(column(place) - left, row(place) - top)
    }

    /** Paints frames inside the tiles that lie in a rectangle; `line` is in level-0 px. */
    void frame(Graphics2D g, Rectangle2D seen, double line) {
        for (int[] each : visible(seen)) {
            frame(g, (left + each[0]) * width, (top + each[1]) * height, width, height, each[2],
                line)
        }
    }

    /** Paints a frame inside a tile, as four bars: neighbours do not paint over one another. */
    static void frame(Graphics2D g, double x, double y, double width, double height, int colour,
            double line) {
        Rectangle2D.Double bar = new Rectangle2D.Double()
        double side = Math.min(line, width / 4)
        g.setColor(new Color(colour))
        bar.setRect(x, y, width, side)
        g.fill(bar)
        bar.setRect(x, y + height - side, width, side)
        g.fill(bar)
        bar.setRect(x, y + side, side, height - 2 * side)
        g.fill(bar)
        bar.setRect(x + width - side, y + side, side, height - 2 * side)
        g.fill(bar)
    }

    /** Column and row in the picture, and colour, of each tile in a rectangle. */
    private List<int[]> visible(Rectangle2D seen) {
        List<int[]> found = []
        if (picture == null) {
            return found
        }
        int lastColumn = Math.min(picture.width - 1, (int) Math.floor(seen.maxX / width) - left)
        int lastRow = Math.min(picture.height - 1, (int) Math.floor(seen.maxY / height) - top)
        for (int y = Math.max(0, (int) Math.floor(seen.minY / height) - top); y <= lastRow; y++) {
            for (int x = Math.max(0, (int) Math.floor(seen.minX / width) - left);
                    x <= lastColumn; x++) {
                Integer packed = colour(x, y)
                if (packed != null) {
                    found << ([x, y, packed] as int[])
                }
            }
        }
        found
    }

    private Integer colour(int x, int y) {
        if (x < 0 || y < 0 || x >= picture.width || y >= picture.height) {
            return null
        }
        int argb = picture.getRGB(x, y)
        argb == 0 ? null : (Integer) (argb & 0xFFFFFF)
    }

    private boolean isOnGrid(Bounds place) {
        isNear(place.x / width) && isNear(place.y / height) \
            && Math.abs(place.width / width - 1) < TOLERANCE \
            && Math.abs(place.height / height - 1) < TOLERANCE
    }

    private static boolean isNear(double value) {
        Math.abs(value - Math.rint(value)) < TOLERANCE
    }

    private int column(Bounds place) {
        (int) Math.round(place.x / width)
    }

    private int row(Bounds place) {
        (int) Math.round(place.y / height)
    }
}
