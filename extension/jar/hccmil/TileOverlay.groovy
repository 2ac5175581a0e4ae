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
    private static final double SMALLEST_OUTLINED = 8d
    private static final Color LEFT_OUT = new Color(0x4A4A4A)
    private static final Color CURRENT = new Color(0xFFE500)

    private List<Bounds> places = []
    private int[] colours = new int[0]
    private boolean filled
    private double opacity

    /** The current tile; null for none. */
    volatile Bounds current
    /** Places that were left out, crossed out. */
    volatile List<Bounds> leftOut = []

    /** Sets the tiles to paint, with one colour (packed RGB) per tile. */
    synchronized void show(List<Bounds> places, int[] colours, boolean filled, double opacity) {
        this.places = places
        this.colours = colours
        this.filled = filled
        this.opacity = opacity
    }

    boolean isEmpty() {
        places.empty && leftOut.empty && current == null
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
        double smallest = SMALLEST_OUTLINED * downsample
        double line = 2.5d * downsample
        Rectangle2D.Double box = new Rectangle2D.Double()
        int last = -1
        float alpha = -1f
        for (int at = 0; at < colours.length; at++) {
            Bounds place = places[at]
            if (!seen.intersects(place.x, place.y, place.width, place.height)) {
                continue
            }
            boolean whole = filled || place.width < smallest
            float wanted = whole ? (float) (given * opacity) : given
            if (wanted != alpha) {
                alpha = wanted
                g.setComposite(AlphaComposite.getInstance(AlphaComposite.SRC_OVER, alpha))
            }
            if (colours[at] != last) {
                last = colours[at]
                g.setColor(new Color(last))
            }
            if (filled && place == current) {
                // the tissue of the current tile stays visible
                paintFrame(g, box, place, line)
            } else if (whole) {
                box.setRect(place.x, place.y, place.width, place.height)
                g.fill(box)
            } else {
                paintFrame(g, box, place, line)
            }
        }
    }

    /** Paints four bars inside the tile, so that neighbours do not paint over one another. */
    private static void paintFrame(
            Graphics2D g, Rectangle2D.Double box, Bounds place, double line) {
        double width = Math.min(line, place.width / 4)
        box.setRect(place.x, place.y, place.width, width)
        g.fill(box)
        box.setRect(place.x, place.y + place.height - width, place.width, width)
        g.fill(box)
        box.setRect(place.x, place.y + width, width, place.height - 2 * width)
        g.fill(box)
        box.setRect(
            place.x + place.width - width, place.y + width, width, place.height - 2 * width)
        g.fill(box)
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
