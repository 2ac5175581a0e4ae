"""Which tiles are the highest and lowest of a cohort."""

import numpy as np
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.method.aggregation import risk, signed_power
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.tiles_of_interest.choose_tiles import TileWish, choose_tiles
from qupath_hccmil.tiles_of_interest.cohort_tiles import Cohort
from tests.tiles_of_interest.scored_projects import POWER, Scored, make_project, with_model


def cohort(*projects, **change) -> Cohort:
    return Cohort.of([*projects], "native", **change)


def choose(*projects, level="slide", **wish):
    return choose_tiles(
        cohort(*projects, level=level).images(), TileWish(level=level, **{"top": 5, **wish})
    )


def risks(tiles, side):
    return [round(tile.risk, 6) for tile in tiles if tile.side == side]


def expected(values, n=5):
    ordered = sorted(np.round(risk(np.asarray(values)), 6).tolist())
    return ordered[::-1][:n], ordered[:n]


def test_the_highest_and_lowest_by_risk(made_cohort, logits):
    tiles = choose(made_cohort, by="risk")
    high, low = expected([value for each in logits for value in each])
    assert risks(tiles, "high") == pytest.approx(high, abs=2e-6)
    assert risks(tiles, "low") == pytest.approx(low, abs=2e-6)
    assert [tile.rank for tile in tiles] == [1, 2, 3, 4, 5] * 2
    assert sorted(tile.number for tile in tiles) == list(range(1, 11))


def test_the_highest_and_lowest_by_contribution(made_cohort, logits):
    tiles = choose(made_cohort)
    shares = np.concatenate([signed_power(np.array(each), POWER) / len(each) for each in logits])
    found = [tile.contribution for tile in tiles]
    assert found[:5] == pytest.approx(sorted(shares)[::-1][:5], rel=1e-5)
    assert found[5:] == pytest.approx(sorted(shares)[:5], rel=1e-5)


def test_a_contribution_to_a_patient_is_a_share_of_all_slides_pooled(made_cohort, logits):
    tiles = choose(made_cohort, level="patient", top=12)
    of_patient = {"P1": logits[0] + logits[1], "P2": logits[2]}
    for tile in tiles:
        n = len(of_patient[tile.image.patient])
        logit = tile.value_of("logit")
        assert tile.contribution == pytest.approx(signed_power(logit, POWER) / n, rel=1e-5)
    for patient, values in of_patient.items():
        mine = [t.contribution for t in tiles if t.image.patient == patient]
        assert sum(mine) == pytest.approx(np.mean(signed_power(np.array(values), POWER)), rel=1e-5)


def test_at_most_so_many_of_a_slide_or_a_patient_on_each_side(made_cohort):
    tiles = choose(made_cohort, top=10, per_unit=2)
    counts = {}
    for tile in tiles:
        key = (tile.side, tile.image.entry.name)
        counts[key] = counts.get(key, 0) + 1
    names = [f"{letter}.tif" for letter in "abc"]
    assert counts == {(side, name): 2 for side in ("high", "low") for name in names}
    tiles = choose(made_cohort, top=10, per_unit=3, level="patient")
    sides = [(tile.side, tile.image.patient) for tile in tiles]
    assert sides.count(("high", "P1")) == sides.count(("low", "P1")) == 3
    assert sides.count(("high", "P2")) + sides.count(("low", "P2")) == 4


def test_a_small_cohort_is_shared_and_no_tile_is_on_both_sides(made_cohort):
    tiles = choose(made_cohort, top=200)
    assert [tile.side for tile in tiles].count("high") == 12
    places = {(tile.image.entry.id, tile.bounds) for tile in tiles}
    assert len(places) == len(tiles) == 24


def test_a_tile_in_two_outlines_is_one_tile_with_the_first_ones_id(made_cohort):
    (image, *_) = cohort(made_cohort).images()
    with NativeProject(made_cohort) as project:
        state = project.read(project.images[0])
    assert len(image.tiles) == 8 == len(state.results.tiles[0]) == len(state.results.tiles[1])
    assert {image.tiles.outlines[row][0] for row in image.tiles.outline} == {
        state.annotations[0].id
    }


def test_equal_tiles_keep_their_order_and_the_order_of_numbers_is_the_seeds(tmp_path):
    project = make_project(tmp_path / "even", [Scored("a.tif", [0.5] * 8)])
    tiles = choose(project, top=2)
    assert [tile.bounds[:2] for tile in tiles] == [(0, 0), (128, 0), (384, 128), (256, 128)]
    order = [[tile.number for tile in choose(project, top=4, seed=seed)] for seed in (0, 0, 1)]
    assert order[0] == order[1] != order[2]


def test_several_projects_are_told_apart(made_cohort, tmp_path):
    other = make_project(tmp_path / "other" / "qupath", [Scored("a.tif", [9.0, -9.0])], tmp_path)
    found = cohort(made_cohort, other)
    assert [each.label for each in found.projects] == [str(made_cohort), str(other)]
    tiles = choose_tiles(found.images(), TileWish(top=1, by="risk"))
    assert {tile.image.project.label for tile in tiles} == {str(other)}
    with pytest.raises(DataError, match="is given twice"):
        cohort(made_cohort, made_cohort / "project.qpproj")


def test_images_of_two_models_are_refused(tmp_path):
    images = [Scored("a.tif", [1.0, -1.0]), *with_model([Scored("b.tif", [1.0, -1.0])], "c" * 64)]
    project = make_project(tmp_path / "mixed", images)
    with pytest.raises(DataError, match="different models") as caught:
        choose(project)
    assert "aaaaaaaa" in str(caught.value)
    assert "cccccccc" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_left_out_or_stale_is_said(tmp_path):
    images = [
        Scored("scored.tif", [1.0, -1.0]),
        Scored("unscored.tif", [1.0], scored=False),
        Scored("broken.tif", [1.0, 2.0]),
    ]
    project = make_project(tmp_path / "p", images)
    (project / "data" / "3" / "data.qpdata").write_bytes(b"no data")
    with NativeProject(project) as opened:
        # a tile that Cell detection cleared
        state = opened.read(opened.images[0])
        tiles = {k: t.rows(np.array([True, False])) for k, t in state.results.tiles.items()}
        results = type(state.results)(**{**vars(state.results), "tiles": tiles})
        opened.write(opened.images[0], results, state.stamp)
    found = cohort(project)
    (image,) = found.images()
    assert image.stale
    assert found.notes == [
        "qupath: scored.tif: is stale: outlines or tiles were changed since it was scored; "
        f"score --resume {project}",
        "qupath: 1 without a score left out: unscored.tif",
    ]
    (failed,) = found.failed
    assert failed.startswith("qupath: broken.tif: ")


def test_a_patient_is_asked_for_only_at_that_level(tmp_path):
    project = make_project(tmp_path / "p", [Scored("a.tif", [1.0, -1.0])])
    assert len(choose(project)) == 2
    with pytest.raises(DataError, match=r"a\.tif: no patient; .* --level slide"):
        choose(project, level="patient")


def test_two_spellings_of_a_patient_are_refused_at_that_level(tmp_path):
    images = [Scored(f"{name}.tif", [1.0, -1.0], patient=name) for name in ("P1", "p1")]
    project = make_project(tmp_path / "p", images)
    assert len(choose(project)) == 4
    with pytest.raises(DataError, match=r"p1\.tif: patient 'p1', and .*P1\.tif: patient 'P1'"):
        choose(project, level="patient")


def test_a_cohort_without_scores_is_refused(tmp_path):
    project = make_project(tmp_path / "p", [Scored("a.tif", [1.0], scored=False)])
    with pytest.raises(DataError, match="run score first"):
        choose(project)
