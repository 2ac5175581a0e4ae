"""The public interface does what the command line does, and importing it is light."""

import json
import subprocess
import sys

import pytest
from shapely.geometry import box

import qupath_hccmil as hm
from qupath_hccmil.errors import AnnotationError
from tests.survival.conftest import made_cohort


def test_importing_it_loads_nothing_heavy():
    code = (
        "import sys, qupath_hccmil; "
        "print([m for m in ('torch', 'numpy', 'pandas', 'openslide', 'cv2') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_everything_public_has_a_docstring():
    assert all(getattr(hm, name).__doc__ for name in hm.__all__)


def test_a_project_is_scored_as_by_the_command(cli, project):
    (outcome,) = hm.score_project(project, engine="native", max_tiles=6, seed=3)
    command = ("score", project, "--engine", "native", "--max-tiles", 6, "--seed", 3, "--json")
    (image,) = json.loads(cli(*command).out)["images"]
    assert (outcome.risk, outcome.tiles) == (image["risk"], image["tiles"])
    tiles = hm.tile_scores(project, engine="native")
    assert len(tiles.drop_duplicates(["x_px", "y_px"])) == outcome.tiles
    (row,) = hm.tile_scores(project, level="image", engine="native").to_dict("records")
    assert row["risk"] == pytest.approx(outcome.risk, rel=1e-12)
    (again,) = hm.score_project(project, engine="native", resume=True)
    assert again.status == "up to date"


def test_a_slide_is_scored_without_a_project(project):
    (slide,) = (project.parent / "slides").glob("*.tif")
    outlines = [box(512, 512, 1536, 1024), box(0, 0, 10, 10)]
    score = hm.score_slide(slide, outlines)
    assert 0 <= score.risk <= 1
    assert set(score.annotations) == {0}
    assert len(score.tiles) == 2
    with pytest.raises(AnnotationError, match="too small"):
        hm.score_slide(slide, outlines[1:])


def test_the_stain_of_a_slide_is_fitted(project):
    (slide,) = (project.parent / "slides").glob("*.tif")
    fit = hm.fit_stain(slide)
    assert fit.matrix.shape == (2, 3)
    assert hm.fit_stain(slide).to_dict() == fit.to_dict()


def test_a_survival_report_is_written(tmp_path):
    frame = made_cohort(60)
    frame[["patient", "risk_score"]].to_csv(tmp_path / "s.csv", index=False)
    frame.drop(columns="risk_score").to_csv(tmp_path / "c.csv", index=False)
    report = hm.survival_report(
        tmp_path / "s.csv", tmp_path / "c.csv", tmp_path / "out",
        time="rfs_days", event="rfs_event", bootstrap=0, variables=(),
    )  # fmt: skip
    assert report == tmp_path / "out" / "report.html"
    assert report.stat().st_size > 10_000
