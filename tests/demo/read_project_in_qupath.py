"""Opens a project with the QuPath of PAQUO_QUPATH_DIR, pixels too; prints what it shows as JSON.

Runs in its own process: one process holds one Java.
"""

import json
import sys
from pathlib import Path

from paquo.projects import QuPathProject

with QuPathProject(Path(sys.argv[1]), mode="r") as project:
    (entry,) = project.images
    data = entry.java_object.readImageData()
    server = data.getServer()
    calibration = server.getPixelCalibration()
    annotations = list(data.getHierarchy().getAnnotationObjects())
    lowest = server.getDownsampleForResolution(server.nResolutions() - 1)
    thumbnail = server.readRegion(lowest, 0, 0, server.getWidth(), server.getHeight())
    packed = int(thumbnail.getRGB(200, 200))
    print(
        json.dumps(
            {
                "size": [int(server.getWidth()), int(server.getHeight())],
                "mpp": float(calibration.getAveragedPixelSizeMicrons()),
                "type": str(data.getImageType().name()),
                "annotations": [
                    [
                        str(a.getPathClass().toString()),
                        str(a.getName()),
                        float(a.getROI().getArea()),
                    ]
                    for a in annotations
                ],
                "pixel": [packed >> shift & 255 for shift in (16, 8, 0)],
                "thumbnail": [int(thumbnail.getWidth()), int(thumbnail.getHeight())],
            }
        )
    )
