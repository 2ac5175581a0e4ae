"""Score a QuPath project from Python and read the results back.

    python score.py [PROJECT]

Without PROJECT a small demo with a drawn slide is made in ./demo-small. For research use only.
"""

import sys
from pathlib import Path

import qupath_hccmil as hm
from qupath_hccmil.demo.demo_project import make_demo_project


def main(project: Path) -> None:
    for outcome in hm.score_project(project, max_tiles=50, seed=1):
        print(f"{outcome.image}: {outcome.status}, {outcome.tiles} tiles {outcome.reason}")
    tiles = hm.tile_scores(project)
    for name, outline in tiles.groupby("annotation_name", sort=False):
        highest = outline.loc[outline["tile_risk"].idxmax()]
        place = f"({highest['x_px']:.0f}, {highest['y_px']:.0f})"
        side = f"{highest['width_px']:.0f} x {highest['height_px']:.0f} px"
        print(f"{name}: highest tile at {place}, {side}, risk {highest['tile_risk']:.3f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        demo = make_demo_project(Path("demo-small"), drawn=True, drawn_size=(3000, 2400))
        main(demo.project)
