"""Adds images to a project while it is killed at one call after the other, and looks at the result.

Usage: LD_PRELOAD=project_faults.so python added_images.py FOLDER STEP; prints how each kill ended.
"""

import json
import os
import shutil
import sys
import traceback
from pathlib import Path

from qupath_hccmil.qupath.add_images import add_images
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.new_image import NewImage
from qupath_hccmil.qupath.writing.replace_files import WriteRun
from qupath_hccmil.qupath.writing.restore_backup import ADD
from tests.qupath.faults import shim
from tests.qupath.faults.shim import Fault
from tests.qupath.faults.transitions import leftovers, make_project


def add(folder: Path) -> None:
    """Add the images that are not there."""
    with WriteRun(folder, kind=ADD) as run:
        run.begin()
        project = folder / "project.qpproj"
        with NativeProject(project) as opened:
            known = {entry.name for entry in opened.images}
        new = [NewImage(folder.parent / f"{n}.svs", n, 2000, 1000, 0.5) for n in ("two", "three")]
        add_images(run, project, [image for image in new if image.name not in known])


def names(folder: Path) -> list[str]:
    """Images that can be read; an error where one cannot."""
    with NativeProject(folder) as project:
        for entry in project.images:
            assert project.read(entry).image_type == "BRIGHTFIELD_H_E"
        return [entry.name for entry in project.images]


def main(folder: Path, step: int) -> None:
    start = make_project(folder / "project").rename(folder / "start")
    project = folder / "project"
    old, new = ["Slide 1"], ["Slide 1", "two", "three"]

    def set_up() -> None:
        shutil.rmtree(project, ignore_errors=True)
        shutil.copytree(start, project)

    set_up()
    shim.arm(project, Fault(writes=True))
    add(project)
    count = shim.disarm()
    ended = []
    for at in range(0, count + 1, step):
        set_up()
        if (child := os.fork()) == 0:
            try:
                shim.arm(project, Fault(at, shim.KILL, writes=True))
                add(project)
            except BaseException:
                traceback.print_exc()
            os._exit(0)
        os.waitpid(child, 0)
        # what QuPath would open right now
        listed = json.loads((project / "project.qpproj").read_text(encoding="utf-8"))["images"]
        found = [each["imageName"] for each in listed]
        assert found in (old, new), (at, found)
        assert all((project / "data" / str(e["entryID"]) / "data.qpdata").is_file() for e in listed)
        ended.append(len(found))
        assert names(project) in (old, new), at
        add(project)
        assert names(project) == new, at
        assert not leftovers(project), (at, leftovers(project))
    print(json.dumps(ended))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
