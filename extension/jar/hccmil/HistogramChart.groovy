package hccmil

import javafx.geometry.VPos
import javafx.scene.Cursor
import javafx.scene.canvas.Canvas
import javafx.scene.control.Tooltip
import javafx.scene.layout.Pane
import javafx.scene.paint.Color
import javafx.scene.text.Font
import javafx.scene.text.TextAlignment

/** Chart of the tiles by risk, in the colours of the map, with the threshold. */
class HistogramChart extends Pane {
    private static final int TOP = 18
    private static final int FOOT = 32
    private static final int SIDE = 4

    private final Histogram histogram
    private final double threshold
    private final Canvas canvas
    private final Tooltip tip = new Tooltip()
    private int over = -1

    /** @param chosen called with the edges of a bar that was clicked and has tiles */
    HistogramChart(Histogram histogram, double threshold, double width, double height,
            Closure chosen) {
        this.histogram = histogram
        this.threshold = threshold
        canvas = new Canvas(width, height)
        children << canvas
        id = 'hccmil-histogram'
        accessibleText = 'Histogram of the risks of tiles'
        paint()
        Tooltip.install(canvas, tip)
        canvas.setOnMouseMoved { event -> hover(binAt(event.x)) }
        canvas.setOnMouseExited { hover(-1) }
        canvas.setOnMouseClicked { event ->
            int bin = binAt(event.x)
            if (histogram.counts[bin] > 0) {
                chosen([histogram.edges[bin], histogram.edges[bin + 1]])
            }
        }
    }

    private int binAt(double x) {
        histogram.binOf(Math.max(0d, Math.min(1d, (x - SIDE) / (canvas.width - 2 * SIDE))))
    }

    private void hover(int bin) {
        boolean there = bin >= 0 && histogram.counts[bin] > 0
        canvas.cursor = there ? Cursor.HAND : Cursor.DEFAULT
        if (bin >= 0) {
            tip.text = "Risk ${Ui.number(histogram.edges[bin], 3)} to " +
                "${Ui.number(histogram.edges[bin + 1], 3)}: " +
                RunFacts.counted(histogram.counts[bin], 'tile') + (there ? '. Click to view them.' : '')
        }
        if (bin != over) {
            over = bin
            paint()
        }
    }

    private double place(double risk) {
        SIDE + risk * (canvas.width - 2 * SIDE)
    }

    private void paint() {
        def g = canvas.graphicsContext2D
        double floor = canvas.height - FOOT
        g.clearRect(0, 0, canvas.width, canvas.height)
        g.fill = Color.WHITE
        g.fillRect(0, 0, canvas.width, canvas.height)
        int most = Math.max(1, histogram.most)
        histogram.counts.eachWithIndex { count, bin ->
            double left = place(histogram.edges[bin])
            double right = place(histogram.edges[bin + 1])
            // a bar of one tile among thousands stays visible
            double high = count == 0 ? 0d : Math.max(2d, (floor - TOP) * count / most)
            boolean isHigh = histogram.edges[bin] >= threshold
            g.fill = Ui.colour(isHigh ? RiskColours.HIGH : RiskColours.LOW)
            g.fillRect(left + 0.5, floor - high, right - left - 1, high)
            if (bin == over && count > 0) {
                g.stroke = Color.BLACK
                g.lineWidth = 1.5
                g.strokeRect(left + 0.5, floor - high, right - left - 1, high)
            }
        }
        g.stroke = Color.gray(0.35)
        g.lineWidth = 1
        g.strokeLine(SIDE, floor + 0.5, canvas.width - SIDE, floor + 0.5)
        double at = Math.round(place(threshold)) + 0.5d
        g.stroke = Color.BLACK
        g.setLineDashes(4, 3)
        g.strokeLine(at, TOP - 4, at, floor + 4)
        g.setLineDashes()
        g.fill = Color.BLACK
        g.font = Font.font(11)
        g.textBaseline = VPos.TOP
        g.textAlign = TextAlignment.LEFT
        g.fillText('0', SIDE, floor + 5)
        g.textAlign = TextAlignment.RIGHT
        g.fillText('1', canvas.width - SIDE, floor + 5)
        g.textAlign = TextAlignment.CENTER
        g.fillText("threshold ${Ui.number(threshold, 4)}", at, floor + 5)
        g.fillText('risk of a tile', canvas.width / 2, floor + 18)
        g.textAlign = TextAlignment.LEFT
        g.fillText("highest bar: ${RunFacts.counted(histogram.most, 'tile')}", SIDE, 2)
    }
}
