package hccmil

import qupath.lib.images.ImageData
import qupath.lib.objects.PathObject
import qupath.lib.objects.PathTileObject

/** The objects in an image that belong to the user: all except our tiles. */
class UserObjects {
    /**
     * Whether two states of an image have the same objects of the user. QuPath marks an image as
     * changed for less than that, such as another brightness or being opened in a second viewer.
     */
    static boolean same(ImageData one, ImageData other) {
        described(one) == described(other)
    }

    private static Map<UUID, List> described(ImageData data) {
        data.hierarchy.getFlattenedObjectList(null).findAll { !it.rootObject && !isOurs(it) }
            .collectEntries { [it.ID, description(it)] }
    }

    private static boolean isOurs(PathObject object) {
        object instanceof PathTileObject && object.pathClass?.toString() in OpenImages.OUR_CLASSES
    }

    private static List description(PathObject object) {
        def values = object.measurements.findAll { name, value -> !name.startsWith("HCC-MIL") }
        [object.pathClass?.toString(), object.name, object.locked, object.color, object.class,
            object.parent?.rootObject ? null : object.parent?.ID, object.ROI?.roiName,
            object.ROI?.imagePlane, object.ROI?.allPoints, values]
    }
}
