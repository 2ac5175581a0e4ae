package hccmil

import groovy.transform.CompileStatic
import java.awt.image.BufferedImage
import qupath.lib.images.ImageData
import qupath.lib.objects.PathObject
import qupath.lib.objects.PathTileObject
import qupath.lib.objects.classes.PathClass
import qupath.lib.plugins.workflow.WorkflowStep
import qupath.lib.projects.Project
import qupath.lib.projects.ProjectImageEntry
import qupath.lib.roi.interfaces.ROI

/** The results that the command wrote into an image: each tile once, and the record of the run. */
@CompileStatic
class ScoredImage {
    static final String CLASS_HIGH = 'HCC-MIL high risk'
    static final String CLASS_LOW = 'HCC-MIL low risk'
    static final String RISK = 'HCC-MIL: Tile risk'
    static final String CONTRIBUTION = 'HCC-MIL: Tile contribution'
    static final String NUCLEI = 'HCC-MIL: Tile nuclei fraction'

    final ImageData<BufferedImage> data
    final String name
    /** ID of the project's entry; null if the image is not in a project. */
    final String entryId
    final List<Tile> tiles
    /** Null if there is no record, or none that this version can read. */
    final RunFacts facts

    private ScoredImage(ImageData<BufferedImage> data, Project<BufferedImage> project) {
        this.data = data
        ProjectImageEntry<BufferedImage> entry = project?.getEntry(data)
        name = entry?.imageName ?: data.server.metadata.name
        entryId = entry?.getID()
        tiles = tilesOf(data).asImmutable()
        facts = factsOf(data)
    }

    /**
     * Reads an open image.
     *
     * @throws Problem if no image is open, or it has no scores
     */
    static ScoredImage of(ImageData<BufferedImage> data, Project<BufferedImage> project) {
        if (data == null) {
            throw new Problem('No image is open. Open a scored image of your project first.')
        }
        ScoredImage found = new ScoredImage(data, project)
        if (found.tiles.empty) {
            throw new Problem("$found.name has no scores yet. Outline the tumour, give the outline "
                + 'the class Tumor, and choose Extensions > HCC-MIL > Score this image.')
        }
        found
    }

    /** The model's threshold, or the published one if there is no record. */
    double getThreshold() {
        facts == null ? RiskColours.THRESHOLD : facts.threshold
    }

    String getModel() {
        facts == null ? '' : facts.weights
    }

    int getHighTiles() {
        tiles.count { Tile each -> each.high } as int
    }

    /** Tiles with a risk from one value to below another; 1 includes a risk of 1. */
    List<Tile> between(double from, double to) {
        tiles.findAll { Tile each -> each.risk >= from && (each.risk < to || to == 1d) }
    }

    private static List<Tile> tilesOf(ImageData<BufferedImage> data) {
        // outlines that overlap have the same tile twice
        Map<Bounds, Tile> found = [:]
        for (PathObject each : data.hierarchy.getObjects(null, PathTileObject)) {
            PathClass pathClass = each.pathClass
            String className = pathClass == null ? '' : pathClass.toString()
            boolean high = className == CLASS_HIGH
            if (!high && className != CLASS_LOW) {
                continue
            }
            double risk = each.measurementList.get(RISK)
            if (Double.isNaN(risk)) {
                continue
            }
            ROI roi = each.getROI()
            Bounds bounds =
                new Bounds(roi.boundsX, roi.boundsY, roi.boundsWidth, roi.boundsHeight)
            found.putIfAbsent(bounds, new Tile(
                bounds: bounds,
                risk: risk,
                contribution: each.measurementList.get(CONTRIBUTION),
                nuclei: each.measurementList.get(NUCLEI),
                high: high))
        }
        new ArrayList<Tile>(found.values())
    }

    private static RunFacts factsOf(ImageData<BufferedImage> data) {
        List<WorkflowStep> steps = new ArrayList<WorkflowStep>(data.historyWorkflow.steps)
        WorkflowStep last =
            steps.reverse().find { WorkflowStep each -> each.name == RunFacts.STEP }
        last == null ? null : RunFacts.read(last.parameterMap[RunFacts.PARAMETER] as String)
    }
}
