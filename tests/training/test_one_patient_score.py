"""One patient, one score, one group: in the export, in `survival` and in `evaluate mil`."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from shapely.geometry import box

from qupath_hccmil.errors import DataError
from qupath_hccmil.method.aggregation import (
    contributions,
    group_name,
    is_high_risk,
    risk,
    signed_power,
    slide_logit,
)
from qupath_hccmil.method.patient_score import PATIENT_RULES
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.data_types import ImageResults, TileObjects, WorkflowStep
from qupath_hccmil.qupath.export.score_tables import table
from qupath_hccmil.qupath.fingerprint import annotation_fingerprint, outline_fingerprint
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.run_record import OutlineRecord, RunRecord, listed_metadata
from qupath_hccmil.survival.analysis_cohort import GROUP, SCORE, read_cohort
from qupath_hccmil.survival.analysis_settings import Settings
from qupath_hccmil.survival.statistics.risk_groups import HIGH
from qupath_hccmil.tables.score_table import read_scores
from qupath_hccmil.tables.table_writer import write_table
from qupath_hccmil.training.evaluate_mil import evaluate_mil, write_evaluation

LEVELS = ("image", "annotation", "tile")
# Two outlines a slide, whose tiles lie in one row: the first outline holds the first half.
SLIDE = st.lists(st.floats(-3, 3).map(lambda x: round(x, 3)), min_size=2, max_size=8)
PATIENTS = st.lists(st.lists(SLIDE, min_size=1, max_size=3), min_size=2, max_size=4)


def results(state, logits, p, threshold) -> ImageResults:
    """Write what a run of ours would."""
    s = np.asarray(logits, float)
    bounds = np.array([[512.0 * k, 0, 512, 512] for k in range(len(s))])
    annotations, tiles = {}, {}
    half = len(s) // 2
    parts = (slice(0, half), slice(half, None))
    for annotation, rows in zip(state.annotations, parts, strict=True):
        logit = slide_logit(s[rows], p)
        annotations[annotation.index] = {
            names.ANNOTATION_RISK: float(risk(logit)),
            names.ANNOTATION_LOGIT: logit,
            names.ANNOTATION_TILES: float(len(s[rows])),
        }
        classes = [
            names.CLASS_HIGH if is_high_risk(r, threshold) else names.CLASS_LOW
            for r in risk(s[rows])
        ]
        measured = {
            names.TILE_RISK: risk(s[rows]),
            names.TILE_LOGIT: s[rows],
            names.TILE_CONTRIBUTION: contributions(s, p)[rows],
        }
        tiles[annotation.index] = TileObjects(bounds[rows], classes, measured)
    logit = slide_logit(s, p)
    r = float(risk(logit))
    record = RunRecord(
        risk=r,
        logit=logit,
        group=group_name(r, threshold),
        tiles=len(s),
        p=p,
        threshold=threshold,
        model="m",
        surrogate=True,
        weights_sha256="ab" * 32,
        settings_sha256="ef" * 32,
        version="0.1.0",
        time="2026-01-01T00:00:00+00:00",
        mpp=0.25,
        mpp_source="QuPath",
        fingerprint=annotation_fingerprint(state.annotations),
        settings={"annotation_classes": ["Tumor"]},
        outlines=tuple(
            OutlineRecord(
                each.index, each.id, outline_fingerprint(each), len(tiles[each.index]), 0, 0
            )
            for each in state.annotations
        ),
        stain={},
        background=0,
        blurred=0,
    )
    return ImageResults(
        annotations=annotations,
        tiles=tiles,
        root={
            names.SLIDE_RISK: r,
            names.SLIDE_LOGIT: logit,
            names.SLIDE_TILES: float(len(s)),
        },
        metadata=listed_metadata(record),
        step=WorkflowStep(names.STEP_NAME, "", {names.STEP_RECORD: record.to_parameter()}),
    )


def make_project(folder: Path, patients, p=3.0, threshold=0.4457) -> Path:
    logits = {
        f"P{k} slide {n}.svs": (f"P{k}", slide)
        for k, slides in enumerate(patients)
        for n, slide in enumerate(slides)
    }
    images = [
        NewImage(
            path=Path("/slides") / name,
            name=name,
            width=9000,
            height=600,
            mpp=0.25,
            metadata={"Patient ID": patient},
            annotations=[
                NewAnnotation(box(0, 0, 512 * (len(slide) // 2), 512), "Tumor"),
                NewAnnotation(box(512 * (len(slide) // 2), 0, 512 * len(slide), 512), "Tumor"),
            ],
        )
        for name, (patient, slide) in logits.items()
    ]
    create_project(folder, images)
    with NativeProject(folder) as project:
        for entry in project.images:
            state = project.read(entry)
            found = results(state, logits[entry.name][1], p, threshold)
            project.write(entry, found, state.stamp)
    return folder


def exported(project: Path, out: Path, level: str, rule: str = "pool") -> Path:
    with NativeProject(project) as opened:
        write_table(table(opened, level, join=rule), out)
    return out


def by_evaluate(scores: Path, folder: Path, rule: str | None) -> dict[str, tuple[float, str]]:
    names_ = read_scores(scores, rule=rule or "").scores.index
    clinical = folder / "labels.csv"
    labels = [f"{name},{'good' if k % 2 else 'poor'}" for k, name in enumerate(names_)]
    clinical.write_text("\n".join(["patient,label", *labels]))
    found = evaluate_mil(scores, clinical, patient_rule=rule, repeats=0)
    write_evaluation(folder / "evaluation", found)
    groups = {
        score.patient: (score.risk, group_name(score.risk, found.threshold))
        for score in found.patients
    }
    assert rule is None or found.rule.startswith(rule)
    return groups


def by_survival(scores: Path, folder: Path, rule: str) -> dict[str, tuple[float, str]]:
    clinical = folder / "follow_up.csv"
    index = read_scores(scores, rule=rule).scores.index
    rows = [f"{name},{k + 1},{k % 2}" for k, name in enumerate(index)]
    clinical.write_text("\n".join(["patient,time_years,event", *rows]))
    settings_ = Settings(time="time_years", event="event", patient_rule=rule, variables=())
    frame = read_cohort(scores, clinical, settings_).frame
    return {
        name: (float(row[SCORE]), "high" if row[GROUP] == HIGH else "low")
        for name, row in frame.iterrows()
    }


def means(risks: dict[str, float], p: float) -> dict[str, float]:
    """Generalised means of tile logits, before the root."""
    return {k: float(signed_power(np.log(r / (1 - r)), p)) for k, r in risks.items()}


@settings(max_examples=3, deadline=None, derandomize=True, phases=(Phase.generate,))
@given(PATIENTS, st.sampled_from([1.0, 3.0]), st.sampled_from([0.3, 0.4457, 0.7]))
def test_a_patient_has_one_score_and_one_group_everywhere(patients, p, threshold):
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        project = make_project(folder / "project", patients, p, threshold)
        files = {level: exported(project, folder / f"{level}.csv", level) for level in LEVELS}
        for rule in PATIENT_RULES:
            truth_file = exported(project, folder / f"patient-{rule}.parquet", "patient", rule)
            truth = read_scores(truth_file)
            assert truth.threshold == threshold
            expected = truth.scores.to_dict()
            if len(set(expected.values())) < 2:
                continue  # nothing that a survival analysis could be of
            # Measurements of objects are single precision and the cube root is steep at zero, so m
            # is what has to agree, and a group where the risk isn't next to the threshold.
            m = means(expected, p)
            clear = [k for k, r in expected.items() if abs(r - threshold) > 0.03]
            for scores in files.values():
                one, other = by_evaluate(scores, folder, rule), by_survival(scores, folder, rule)
                for found in (one, other):
                    risks = {k: r for k, (r, _) in found.items()}
                    assert means(risks, p) == pytest.approx(m, rel=1e-5, abs=1e-5)
                    assert {k: found[k][1] for k in clear} == {
                        k: group_name(expected[k], threshold) for k in clear
                    }
            assert by_evaluate(truth_file, folder, None).keys() == expected.keys()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "project"
    return make_project(folder, [[[2.0, 2.0], [-4.0, -4.0]], [[-800.0, -800.0]]])


@pytest.mark.parametrize("level", LEVELS)
def test_two_slides_of_one_patient_are_the_same_in_every_command(project, tmp_path, level):
    scores = exported(project, tmp_path / f"{level}.csv", level)
    for found in (by_evaluate(scores, tmp_path, "mean"), by_survival(scores, tmp_path, "mean")):
        assert found["P0"][0] == pytest.approx((risk(2) + risk(-4)) / 2, rel=1e-6)
        assert found["P0"][1] == "high"
        assert found["P1"] == (0, "low")  # exp(800) is no number


def test_a_table_joined_by_one_rule_is_not_joined_by_another(project, tmp_path):
    scores = exported(project, tmp_path / "p.csv", "patient", "max")
    assert read_scores(scores, rule="max").rule.startswith("max")
    with pytest.raises(DataError, match=r"already joined by max, but --patient-rule is mean"):
        read_scores(scores, rule="mean")


def test_bags_are_pooled_and_say_so(tmp_path):
    (tmp_path / "c.csv").write_text("patient,label\na,good\nb,poor\n")
    (tmp_path / "bags").mkdir()
    with pytest.raises(DataError, match="pooled in a bag; for --patient-rule mean, score"):
        evaluate_mil(tmp_path / "bags", tmp_path / "c.csv", patient_rule="mean")
