"""``score --settings`` and ``--stain``: what they change, what is recorded, what a resume does."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import staintools
from shapely.geometry import box

import qupath_hccmil as hm
from qupath_hccmil.errors import DataError
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.data_types import ImageState
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.staleness import recorded
from qupath_hccmil.scoring.scorer import ScorerSource
from tests.stain.few_iterations import few_iterations
from tests.tile_logits import tile_logits

NATIVE = ("--engine", "native")
SIDE = 512


@pytest.fixture
def small(drawn_demo: Path, tmp_path: Path) -> Path:
    """A project of two outlines of two tiles each."""
    (slide,) = (drawn_demo / "slides").glob("*.tif")
    shapes = [box(SIDE, SIDE, 3 * SIDE, 2 * SIDE), box(SIDE, 2 * SIDE, 3 * SIDE, 3 * SIDE)]
    annotations = [NewAnnotation(each, "Tumor", f"Nodule {n}") for n, each in enumerate(shapes, 1)]
    folder = tmp_path / "project"
    create_project(folder, [NewImage(slide, "Slide", 3000, 2400, 0.25, annotations=annotations)])
    return folder


def state_of(folder: Path) -> ImageState:
    with NativeProject(folder) as project:
        return project.read(project.images[0])


def scored(cli: Any, folder: Path, *more: object) -> dict[str, Any]:
    """What became of the one image."""
    (image,) = json.loads(cli("score", folder, *NATIVE, "--json", *more).out)["images"]
    return image


class TestSettings:
    def test_the_file_counts_and_options_go_before_it(self, cli, project, tmp_path) -> None:
        path = tmp_path / "s.toml"
        path.write_text("max_tiles = 3\nseed = 7\nmin_inside = 0.9\n")
        record = json.loads(
            cli("score", project, *NATIVE, "--json", "--settings", path, "--seed", 8).out
        )
        settings = {"max_tiles": 3, "seed": 8, "min_inside": 0.9, "mpp": None}
        assert settings.items() <= record["settings"].items()
        assert settings.items() <= recorded(state_of(project)).settings.items()

    def test_a_resume_holds_the_file_for_what_the_user_asks(self, cli, project, tmp_path) -> None:
        path = tmp_path / "s.toml"
        path.write_text("max_tiles = 3\n")
        scored(cli, project, "--settings", path)
        assert scored(cli, project, "--resume", "--settings", path)["status"] == "up to date"
        path.write_text("max_tiles = 4\n")
        assert (
            "max_tiles 3, not 4" in scored(cli, project, "--resume", "--settings", path)["reason"]
        )

    def test_a_wrong_key_is_one_line_and_nothing_is_scored(self, cli, project, tmp_path) -> None:
        path = tmp_path / "s.toml"
        path.write_text("max_tile = 3\n")
        ran = cli("score", project, "--settings", path)
        assert ran.code == 1
        assert ran.err.startswith(f"Error: {path}: unknown key 'max_tile'; known keys: ")
        assert len(ran.err.splitlines()) == 1
        assert not state_of(project).results

    def test_what_a_run_was_set_to_can_be_given_again(self, cli, project, tmp_path) -> None:
        out = tmp_path / "out"
        first = scored(cli, project, "--max-tiles", 3, "--seed", 7, "--out", out)
        told = cli("project", "info", project, *NATIVE, "--settings", first["image"]).out
        assert told == (out / "settings.toml").read_text(encoding="utf-8")
        path = tmp_path / "again.toml"
        path.write_text(told, encoding="utf-8")
        again = scored(cli, project, "--settings", path)
        assert (again["risk"], again["tiles"]) == (first["risk"], first["tiles"])

    def test_settings_of_an_image_that_was_never_scored(self, cli, project) -> None:
        name = state_of(project).entry.name
        ran = cli("project", "info", project, *NATIVE, "--settings", name)
        assert ran.code == 1
        assert f"{name}: has no record of a run" in ran.err


class TestStaintools:
    @pytest.fixture(autouse=True)
    def _repeatable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        few_iterations(monkeypatch)

    def test_tiles_are_scored_as_staintools_normalises_them(self, cli, small, drawn_demo) -> None:
        image = scored(cli, small, "--stain", "staintools")
        assert image["status"] == "scored"
        (slide,) = (drawn_demo / "slides").glob("*.tif")
        scorer = ScorerSource().scorer()
        normalizer = staintools.StainNormalizer(method="vahadane")
        normalizer.stain_matrix_target = scorer.stain_target.matrix
        normalizer.maxC_target = scorer.stain_target.max_concentration[None]
        standardize = staintools.LuminosityStandardizer.standardize
        tiles = [tile for part in state_of(small).results.tiles.values() for tile in rows(part)]
        with hm.open_slide(slide) as opened:
            pixels = np.stack(
                [
                    normalizer.transform(standardize(opened.read_tile(*bounds, 224)))
                    for bounds, _ in tiles
                ]
            )
        expected = tile_logits(scorer.judge.runtime, pixels)
        assert [logit for _, logit in tiles] == pytest.approx(expected, abs=1e-4)

    def test_the_choice_is_recorded(self, cli, small, tmp_path) -> None:
        out = tmp_path / "out"
        ours = scored(cli, small)
        image = scored(cli, small, "--stain", "staintools", "--out", out)
        assert image["risk"] != ours["risk"]
        record = recorded(state_of(small))
        assert record.settings["stain"] == "staintools"
        assert record.stain["staintools"]
        versions = json.loads((out / "run.json").read_text(encoding="utf-8"))["versions"]
        assert versions["staintools"] == record.stain["staintools"]
        assert '"--stain", "staintools"' in state_of(small).results.step.script
        assert hm.score_project(small, engine="native", resume=True)[0].status == "up to date"

    def test_a_resume_sees_the_other_choice(self, cli, small) -> None:
        scored(cli, small)
        refused = scored(cli, small, "--resume", "--stain", "staintools")
        assert "was scored with stain 'vahadane', not 'staintools'" in refused["reason"]
        forced = scored(cli, small, "--resume", "--force", "--stain", "staintools")
        assert (forced["status"], forced["reused"]) == ("scored", 0)
        assert scored(cli, small, "--resume")["status"] == "up to date"
        refused = scored(cli, small, "--resume", "--stain", "vahadane")
        assert "was scored with stain 'staintools', not 'vahadane'" in refused["reason"]

    def test_a_resume_keeps_the_outlines_that_are_as_they_were(self, cli, small) -> None:
        scored(cli, small, "--stain", "staintools")
        before = state_of(small)
        lost, kept = before.results.tiles
        remove_a_tile(small, lost)
        image = scored(cli, small, "--resume")
        assert (image["status"], image["reused"], image["tiles"]) == ("scored", 2, 4)
        assert "the scores of 1 outline are kept" in image["notes"][0]
        assert "stain" not in image["notes"][0]
        after = state_of(small)
        assert recorded(after).settings["stain"] == "staintools"
        for key in (lost, kept):
            found, expected = (
                each.results.tiles[key].measurements[names.TILE_LOGIT] for each in (after, before)
            )
            assert found == pytest.approx(expected, abs=1e-4)

    def test_tiles_that_it_cannot_normalise_are_background(self, cli, small, monkeypatch) -> None:
        import staintools.stain_normalizer as module
        from staintools.miscellaneous.exceptions import TissueMaskException

        transform = module.StainNormalizer.transform
        calls = iter(range(100))

        def sometimes(self: Any, tile: np.ndarray) -> np.ndarray:
            if next(calls) == 1:
                raise TissueMaskException
            return transform(self, tile)

        monkeypatch.setattr(module.StainNormalizer, "transform", sometimes)
        image = scored(cli, small, "--stain", "staintools")
        assert (image["tiles"], image["background"]) == (3, 1)

    def test_without_the_package_nothing_is_begun(self, cli, small, monkeypatch) -> None:
        scored(cli, small)
        before = state_of(small)
        monkeypatch.setitem(sys.modules, "staintools", None)
        ran = cli("score", small, *NATIVE, "--stain", "staintools")
        assert ran.code == 1
        assert "(pip install staintools)" in ran.err
        assert len(ran.err.splitlines()) == 1
        assert recorded(state_of(small)) == recorded(before)

    def test_python_refuses_what_no_setting_takes(self, small) -> None:
        with pytest.raises(DataError, match="score_project: stain: 'macenko': Input"):
            hm.score_project(small, stain="macenko")


def rows(part: Any) -> list[tuple[list[float], float]]:
    logits = part.measurements[names.TILE_LOGIT].tolist()
    return list(zip(part.bounds.tolist(), logits, strict=True))


def remove_a_tile(folder: Path, key: int) -> None:
    """As somebody does in QuPath who deletes one of our tiles."""
    with NativeProject(folder) as project:
        state = project.read(project.images[0])
        part = state.results.tiles[key]
        fewer = type(part)(
            part.bounds[1:],
            part.class_names[1:],
            {name: values[1:] for name, values in part.measurements.items()},
        )
        results = state.results
        project.write(
            state.entry,
            type(results)(
                annotations=results.annotations,
                tiles={**results.tiles, key: fewer},
                root=results.root,
                metadata=results.metadata,
                step=results.step,
            ),
            state.stamp,
        )
