"""A large slide scored step by step: with the result of one step, whatever is lost in between."""

import numpy as np
import pytest

from qupath_hccmil.cluster.work import Step
from qupath_hccmil.results.result_file import read_head, read_results
from qupath_hccmil.results.slide_tasks import slide_tasks
from qupath_hccmil.results.slide_worker import ScoringPlan, SlideWorker
from qupath_hccmil.scoring.score_project import Unwatched
from qupath_hccmil.scoring.score_settings import ScoreSettings


@pytest.fixture
def steps(cohort, tmp_path):
    """Does a step of scoring the image Third, which has four tiles; its folder and its pieces."""
    tasks, _ = slide_tasks([cohort], ["Third"])

    def do(kind: str, piece: int = 0, settings: ScoreSettings | None = None):
        plan = ScoringPlan(tmp_path / "own", settings or ScoreSettings(), "native", piece_tiles=1)
        return SlideWorker(plan).score(tasks[0], Unwatched(), Step(kind, piece))

    return do


def the_piece(folder, number):
    (path,) = folder.glob(f".pieces/*/{number}-{number + 1}.npz")
    return path


def test_pieces_are_joined_to_the_result_of_one_step(steps, folder, tmp_path):
    begun = steps("begin")
    assert (begun.outcome.status, begun.pieces) == ("unfinished", 4)
    for number in range(4):
        assert steps("piece", number).outcome.status == "unfinished"
    joined = steps("join")
    assert (joined.outcome.status, joined.outcome.tiles) == ("scored", 4)
    (path,) = (tmp_path / "own").glob("*.parquet")
    found, expected = (read_results(read_head(top / path.name)) for top in (path.parent, folder))
    assert (found.annotations, found.root) == (expected.annotations, expected.root)
    for key, tiles in expected.tiles.items():
        for name, values in tiles.measurements.items():
            assert np.array_equal(found.tiles[key].measurements[name], values)
    assert not list((tmp_path / "own" / ".pieces").iterdir())
    assert steps("begin").outcome.status == "up to date"


def test_a_piece_that_is_there_is_not_done_again_and_a_damaged_one_is(steps, tmp_path):
    steps("begin")
    steps("piece", 0)
    path = the_piece(tmp_path / "own", 0)
    before = path.stat().st_mtime_ns
    steps("piece", 0)
    assert path.stat().st_mtime_ns == before
    path.write_bytes(path.read_bytes()[:100])
    failed = steps("join")
    assert failed.outcome.status == "failed"
    assert "4 of 4 pieces are not there; run again" in failed.outcome.reason
    steps("piece", 0)
    assert "3 of 4 pieces are not there" in steps("join").outcome.reason


def test_a_random_choice_of_tiles_is_not_divided(steps):
    scored = steps("begin", settings=ScoreSettings(max_tiles=3))
    assert (scored.outcome.status, scored.outcome.tiles, scored.pieces) == ("scored", 3, 0)
