"""From files of features, slides and a clinical table to a judged cohort and a report."""

import shutil

import h5py
import numpy as np
import pytest
from PIL import Image

from qupath_hccmil.features.feature_file import open_features
from qupath_hccmil.judgement.judged_cohort import SlideFacts
from qupath_hccmil.judgement.nested_cross_validation import NestedSettings
from qupath_hccmil.training import slide_facts
from qupath_hccmil.training.clinical_table import ClinicalColumns, read_clinical
from qupath_hccmil.training.judge_training import (
    JudgementRequest,
    cohort_of_features,
    judge_training,
)
from qupath_hccmil.training.prepare_bags import Tiling
from qupath_hccmil.training.slide_facts import facts_of_slides
from tests.judgement.small_learner import SmallLearner
from tests.training.two_scenes import two_scenes

PATIENTS = 60
QUICK = NestedSettings(folds=3, inner=2, bootstrap=40)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Slides of two colours, features whose mean carries the hazard, and a table in days."""
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    (folder / "slides").mkdir()
    (folder / "features").mkdir()
    rows, features = ["patient_id;pfi_days;pfi_event;tissue_source_site;age"], {}
    for number in range(PATIENTS):
        name, centre = f"T{number:02d}", "AB"[number % 2]
        x = rng.normal(size=3)
        tiles = (x + rng.normal(size=(int(rng.integers(5, 30)), 3))).astype(np.float32)
        wait, end = rng.exponential(4 * np.exp(-1.5 * x[0])), rng.uniform(1, 9)
        days, event = max(1, round(min(wait, end) * 365.25)), int(wait <= end)
        rows.append(f"{name};{days};{event};{centre};{int(rng.integers(40, 80))}")
        rgb = np.full((60, 80, 3), 255, np.uint8)
        rgb[10:50, 10:60] = (180 - 30 * (number % 2), 90, 150)
        rgb[12, 12] = number
        Image.fromarray(rgb).save(folder / f"slides/{name}.tif")
        with h5py.File(folder / f"features/{name}.h5", "w") as file:
            file["features"], file["coords"] = tiles, np.zeros((len(tiles), 2), int)
        features[name] = tiles.mean(axis=0)
    (folder / "clinical.csv").write_text("\n".join(rows))
    return folder, features


COLUMNS = ClinicalColumns(time="pfi_days", event="pfi_event", unit="days")


def opened(folder):
    return {path.stem: [open_features(path)] for path in sorted(folder.glob("*.h5"))}


def cohort_of(folder, request, **options):
    clinical = read_clinical(folder / "clinical.csv", COLUMNS)
    return cohort_of_features(opened(folder / "features"), clinical, COLUMNS, request, **options)


def test_tables_and_slides_become_a_cohort(made, tmp_path):
    folder, _ = made
    cohort = cohort_of(
        folder, JudgementRequest(), slides=(folder / "slides", Tiling(), tmp_path / "kept.json")
    )
    assert len(cohort.frame) == PATIENTS
    assert cohort.centre_column == "tissue_source_site"
    assert [variable.name for variable in cohort.variables] == ["age"]
    assert cohort.frame["red__"].iloc[:2].round(-1).tolist() == [180, 150]
    assert cohort.frame["time"].max() < 9.01
    assert len({one.pixels for one in cohort.slides}) == PATIENTS
    assert cohort.notes == ()


def test_equal_slides_are_found_by_pixels_and_by_features(made, tmp_path):
    folder, _ = made
    shutil.copytree(folder, tmp_path / "made")
    copy = tmp_path / "made"
    for kind, suffix in (("slides", "tif"), ("features", "h5")):
        shutil.copy(copy / f"{kind}/T03.{suffix}", copy / f"{kind}/T08.{suffix}")
    for slides in (None, (copy / "slides", Tiling(), tmp_path / "kept.json")):
        cohort = cohort_of(copy, JudgementRequest(), slides=slides)
        pixels = {one.patient: one.pixels for one in cohort.slides}
        assert pixels["T03"] == pixels["T08"]
        assert len(set(pixels.values())) == PATIENTS - 1


def test_images_of_one_file_have_pixels_of_their_own(tmp_path):
    project = two_scenes(tmp_path)
    facts = [SlideFacts("P1", "scene 0", 4), SlideFacts("P2", "scene 1", 4)]
    slides = project, Tiling(engine="native"), tmp_path / "kept.json"
    for _ in range(2):
        one, other = facts_of_slides(facts, *slides)[0]
        assert one.pixels != other.pixels
        assert one.colour != other.colour


def test_without_a_slide_the_colour_is_not_compared(made, tmp_path):
    folder, _ = made
    shutil.copytree(folder, tmp_path / "made")
    (tmp_path / "made/slides/T05.tif").unlink()
    (tmp_path / "made/slides/T06.tif").write_bytes(b"no image")
    cohort = cohort_of(
        tmp_path / "made",
        JudgementRequest(),
        slides=(tmp_path / "made/slides", Tiling(), tmp_path / "kept.json"),
    )
    assert not cohort.has_colour
    assert cohort.notes == (
        "The mean colour is not compared, because 2 slides cannot be opened: T05, T06",
    )
    assert all(one.pixels.startswith("features ") for one in cohort.slides)


def test_a_slide_is_opened_once(made, tmp_path, monkeypatch):
    folder, _ = made
    slides = (folder / "slides", Tiling(), tmp_path / "kept.json")
    first = cohort_of(folder, JudgementRequest(), slides=slides)
    with monkeypatch.context() as patch:
        patch.setattr(slide_facts, "_of_pixels", None)
        again = cohort_of(folder, JudgementRequest(), slides=slides)
        assert again.slides == first.slides
        (tmp_path / "kept.json").write_text("{")
        with pytest.raises(TypeError):
            cohort_of(folder, JudgementRequest(), slides=slides)
    assert cohort_of(folder, JudgementRequest(), slides=slides).slides == first.slides


@pytest.mark.parametrize("group", ["", "tissue_source_site"])
def test_a_training_is_judged_and_the_report_is_in_its_folder(made, tmp_path, group):
    folder, features = made
    request = JudgementRequest(QUICK, group_column=group, command="qupath-hccmil train mil …")
    cohort = cohort_of(folder, request)
    frame = cohort.frame
    outcomes = {p: (float(frame.at[p, "time"]), int(frame.at[p, "event"])) for p in frame.index}
    learner = SmallLearner(features, outcomes)
    said = []
    found = judge_training(
        learner, cohort, tmp_path, request, told={"Head": "small"}, progress=said.append
    )
    assert found.report == tmp_path / "judgement/report.html"
    text = found.report.read_text(encoding="utf-8")
    assert "qupath-hccmil train mil …" in text
    assert len(found.judgement.repeats[0]) == (2 if group else 3)
    assert said[0].startswith("repeat 1, fold ")
    assert found.judgement.concordance()[0] > 0.6
    learner.fits.clear()
    judge_training(learner, cohort, tmp_path, request)
    assert not learner.fits
