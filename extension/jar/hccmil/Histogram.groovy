package hccmil

import groovy.transform.CompileStatic

/**
 * Numbers of tiles by risk, in bins of about 0.05. One bin begins at the threshold, so that each bin
 * lies on one side of it.
 */
@CompileStatic
class Histogram {
    static final int BINS = 20

    /** Edges of the bins, ascending from 0 to 1; one more than there are bins. */
    final double[] edges
    final int[] counts

    Histogram(Collection<Double> risks, double threshold) {
        edges = edgesFor(threshold)
        counts = new int[edges.length - 1]
        for (double risk : risks) {
            if (!Double.isNaN(risk)) {
                counts[binOf(risk)]++
            }
        }
    }

    /** Index of the bin for a risk; a bin includes its lower edge, and the last one includes 1. */
    int binOf(double risk) {
        int found = Arrays.binarySearch(edges, risk)
        int bin = found >= 0 ? found : -found - 2
        Math.max(0, Math.min(counts.length - 1, bin))
    }

    int getMost() {
        counts.max() ?: 0
    }

    private static double[] edgesFor(double threshold) {
        boolean within = threshold > 0 && threshold < 1
        int below = within ? Math.max(1, Math.min(BINS - 1, (int) Math.round(BINS * threshold))) : 0
        int above = BINS - below
        double from = within ? threshold : 0d
        double[] edges = new double[BINS + 1]
        for (int at = 0; at < below; at++) {
            edges[at] = from * at / below
        }
        for (int at = 0; at <= above; at++) {
            edges[below + at] = from + (1 - from) * at / above
        }
        edges
    }
}
