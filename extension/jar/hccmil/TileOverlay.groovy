package hccmil

import groovy.transform.CompileStatic
import java.awt.AlphaComposite
import java.awt.BasicStroke
import java.awt.Color
import java.awt.Composite
import java.awt.Graphics2D
import java.awt.RenderingHints
import java.awt.geom.Line2D
import java.awt.geom.Rectangle2D
import java.awt.image.BufferedImage
import qupath.lib.gui.viewer.overlays.PathOverlay
import qupath.lib.images.ImageData
import qupath.lib.regions.ImageRegion

/**
 * Paints tiles below QuPath's own objects.
 *
 * <p>So the objects, the selection and the settings of QuPath's overlays stay as they are.
 */
@CompileStatic
class TileOverlay implements PathOverlay {
    /** Tiles smaller than this many screen px are filled, as their outlines would cover them. */
    private static final double SMALLEST_OUTLINED = 20d
    private static final Color LEFT_OUT = new Color(0x4A4A4A)
    private static final Color CURRENT = new Color(0xFFE500)

    private TileGrid grid = new TileGrid([], new int[0])
    private boolean painting
    private boolean filled
    private double opacity

    /** The current tile; null for none. */
    volatile Bounds current
    /** Places that were left out, crossed out. */
    volatile List<Bounds> leftOut = []

    /** Sets the tiles to paint, with one colour (packed RGB) per tile. */
    synchronized void show(List<Bounds> places, int[] colours, boolean filled, double opacity) {
        painting = !places.empty
        grid = new TileGrid(places, colours)
        this.filled = filled
        this.opacity = opacity
    }

    boolean isEmpty() {
        !painting && leftOut.empty && current == null
    }

    @Override
    synchronized void paintOverlay(Graphics2D g2d, ImageRegion region, double downsample,
            ImageData<BufferedImage> data, boolean paintCompletely) {
        Graphics2D g = (Graphics2D) g2d.create()
        try {
            Rectangle2D seen = g.clipBounds ?: new Rectangle2D.Double(
                region.x, region.y, region.width, region.height)
            // with antialiasing, edges that two tiles share would be painted twice
            g.setRenderingHint(
                RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_OFF)
            g.setRenderingHint(RenderingHints.KEY_STROKE_CONTROL, RenderingHints.VALUE_STROKE_PURE)
            Composite before = g.composite
            paintTiles(g, seen, downsample)
            g.setComposite(before)
            paintLeftOut(g, seen, downsample)
            paintCurrent(g, downsample)
        } finally {
            g.dispose()
        }
    }

    private void paintTiles(Graphics2D g, Rectangle2D seen, double downsample) {
        // QuPath's own opacity slider applies to our overlay too
        float given = g.composite instanceof AlphaComposite
            ? ((AlphaComposite) g.composite).alpha : 1f
        double line = 2.5d * downsample
        boolean whole = filled || grid.tileWidth < SMALLEST_OUTLINED * downsample
        if (whole) {
            g.setComposite(
                AlphaComposite.getInstance(AlphaComposite.SRC_OVER, (float) (given * opacity)))
            // the tissue of the current tile stays visible
            grid.fill(g, current)
            for (Map.Entry<Bounds, Integer> each : grid.others.entrySet()) {
                if (each.key != current) {
                    g.setColor(new Color(each.value))
                    g.fill(each.key.rectangle())
                }
            }
            Integer colour = grid.colourAt(current)
            if (colour != null) {
                frame(g, current, colour, line)
            }
        } else {
            grid.frame(g, seen, line)
            grid.others.each { Bounds place, Integer colour -> frame(g, place, colour, line) }
        }
    }

    private static void frame(Graphics2D g, Bounds place, int colour, double line) {
        TileGrid.frame(g, place.x, place.y, place.width, place.height, colour, line)
    }

    private void paintLeftOut(Graphics2D g, Rectangle2D seen, double downsample) {
        g.setStroke(new BasicStroke((float) (1.5d * downsample)))
        g.setColor(LEFT_OUT)
        for (Bounds place : leftOut) {
            if (seen.intersects(place.x, place.y, place.width, place.height)) {
                double right = place.x + place.width
                double bottom = place.y + place.height
                g.draw(new Rectangle2D.Double(place.x, place.y, place.width, place.height))
                g.draw(new Line2D.Double(place.x, place.y, right, bottom))
                g.draw(new Line2D.Double(right, place.y, place.x, bottom))
            }
        }
    }

    /** Paints an outline around the tile, yellow on black, which covers nothing of it. */
    private void paintCurrent(Graphics2D g, double downsample) {
        Bounds place = current
        if (place == null) {
            return
        }
        for (Map.Entry<Color, Double> each : [(Color.BLACK): 6d, (CURRENT): 3d].entrySet()) {
            double line = each.value * downsample
            double out = 3d * downsample
            g.setColor(each.key)
            g.setStroke(new BasicStroke((float) line, BasicStroke.CAP_SQUARE, BasicStroke.JOIN_MITER))
            g.draw(new Rectangle2D.Double(place.x - out, place.y - out,
                place.width + 2 * out, place.height + 2 * out))
        }
    }
}
