"""Score a QuPath project from Python and read the results back.

    python score.py [PROJECT]

Without PROJECT a small demo with a drawn slide is made in ./demo-small. For research use only.
"""

import sys
from pathlib import Path

from qupath_hccmil.demo.demo_project import make_demo_project
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.open_project import open_project
from qupath_hccmil.scoring.score_project import BatchOptions, Outcome, score_project
from qupath_hccmil.scoring.score_settings import ScoreSettings
from qupath_hccmil.scoring.scorer import ScorerSource


class Silent:
    """Progress that nobody watches; see `qupath_hccmil.cli.show` for a bar."""

    def start(self, image: str, n_tiles: int) -> None: ...

    def advance(self, n_tiles: int) -> None: ...

    def finish(self, outcome: Outcome) -> None: ...


def main(path: Path) -> None:
    with open_project(path) as project:
        settings = ScoreSettings(max_tiles=50, seed=1)
        for outcome in score_project(project, ScorerSource(), settings, BatchOptions(), Silent()):
            print(f"{outcome.image}: {outcome.status}, {outcome.tiles} tiles {outcome.reason}")
        for entry in project.images:
            for key, tiles in project.read(entry).results.tiles.items():
                highest = tiles.measurements[names.TILE_RISK].argmax()
                x, y, width, height = tiles.bounds[highest]
                print(f"{key}: highest tile at ({x:.0f}, {y:.0f}), {width:.0f} x {height:.0f} px")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        demo = make_demo_project(Path("demo-small"), drawn=True, drawn_size=(3000, 2400))
        main(demo.project)
