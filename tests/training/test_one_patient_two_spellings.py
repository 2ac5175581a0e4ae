"""Names that differ only in case, blanks or Unicode form: one patient on both sides of a split."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from qupath_hccmil.errors import DataError
from qupath_hccmil.mil.bags import bag_file
from qupath_hccmil.qupath.create_project import NewImage, create_project
from qupath_hccmil.slide_sources.left_out import LeftOut
from qupath_hccmil.training.clinical_table import ClinicalColumns, read_clinical
from qupath_hccmil.training.evaluate_mil import evaluate_mil
from qupath_hccmil.training.patient_features import find_features
from qupath_hccmil.training.prepare_bags import Tiling
from qupath_hccmil.training.train_heads import train_head
from tests.training.feature_cohort import feature_cohort, feature_file


def table_of(folder, *patients, match=""):
    rows = [f"{name},{'good' if number % 2 else 'poor'}" for number, name in enumerate(patients)]
    (folder / "c.csv").write_text("\n".join(["patient,label", *rows]) + "\n", encoding="utf-8")
    return read_clinical(folder / "c.csv", ClinicalColumns(match=match))


@pytest.mark.parametrize("other", ["p01", "P 01", "Ｐ01"])
def test_two_spellings_in_the_table_are_refused(tmp_path, other):
    with pytest.raises(DataError) as caught:
        table_of(tmp_path, "P01", "P02", other)
    assert str(caught.value).startswith(
        f"{tmp_path / 'c.csv'}: column 'patient': patients 'P01' and {other!r} differ only in "
        "case, blanks or Unicode form, and are probably one patient; write the name in one way"
    )
    assert ("--match case" in str(caught.value)) == (other == "p01")


def test_a_rule_that_matches_them_makes_them_one(tmp_path):
    found = table_of(tmp_path, "P01", "P02", "p01", match="case")
    assert found.patients == {"p01", "p02"}
    assert found.cohort.labels == {"p01": 0, "p02": 1}


def test_a_head_is_not_trained_nor_evaluated_on_them(tmp_path):
    cohort = feature_cohort(tmp_path, patients=12)
    table = (cohort / "clinical.csv").read_text()
    (cohort / "clinical.csv").write_text(table + "P003,2.5,1,50,male\n")
    told = r"clinical\.csv: column 'patient': patients 'p003' and 'P003' differ only in case"
    paths = cohort / "features", cohort / "clinical.csv"
    with pytest.raises(DataError, match=told):
        train_head(*paths, tmp_path / "out", cohort / "features")
    with pytest.raises(DataError, match=told):
        evaluate_mil(*paths, features=cohort / "features")


@pytest.fixture
def with_project(tmp_path):
    """Features of two slides, and a project whose images are of P01 and p02."""
    images = []
    for name, patient in (("a", " P01"), ("b", "p02")):
        feature_file(tmp_path / "features" / f"{name}.h5", np.ones((3, 4)), slide=name)
        (tmp_path / f"{name}.svs").touch()
        path = tmp_path / f"{name}.svs"
        images.append(NewImage(path, name, 9, 9, metadata={"Patient ID": patient}))
    create_project(tmp_path / "project", images)
    return tmp_path


def bags_of(folder, table):
    tiling = Tiling(engine="native")
    return find_features(folder / "features", folder / "project", table, table.patients, tiling)


def test_a_project_that_spells_a_patient_otherwise_is_refused(with_project):
    table = table_of(with_project, "P01", "P02")
    with pytest.raises(DataError) as caught:
        bags_of(with_project, table)
    assert str(caught.value).startswith(
        f"slide b: patient 'p02', and {with_project / 'c.csv'}: patient 'P02', differ only in case"
    )
    assert "(or give --match case)" in str(caught.value)


def test_a_projects_patients_are_matched_by_the_rule(with_project):
    table = table_of(with_project, "P01", "P02", match="case")
    assert bags_of(with_project, table).bags.keys() == {"p01", "p02"}


def test_a_slide_of_another_spelling_is_left_out_with_the_spelling(tmp_path):
    for name in ("P01-a", "p01-b", "P02-a"):
        feature_file(tmp_path / "features" / f"{name}.h5", np.ones((3, 4)))
    features = tmp_path / "features"
    found = find_features(features, features, table_of(tmp_path, "P01", "P02"), ["P01", "P02"])
    assert found.left_out == [
        LeftOut(
            "slide", "p01-b.svs", "no patient in the table",
            "but of 'P01' ignoring case (--match case)",
        )
    ]  # fmt: skip
    table = table_of(tmp_path, "P01", "P02", match="case")
    found = find_features(features, features, table, ["p01", "p02"])
    assert found.left_out == []
    assert {patient: len(bag.slides) for patient, bag in found.bags.items()} == {"p01": 2, "p02": 1}


def test_folders_of_images_are_of_patients_by_the_same_rules(tmp_path, models):
    decomposed = unicodedata.normalize("NFD", "Mü")
    for number, name in enumerate(("p01", "P02", decomposed)):
        (tmp_path / "images" / name).mkdir(parents=True)
        rgb = np.random.default_rng(number).integers(90, 200, (60, 60, 3), dtype=np.uint8)
        Image.fromarray(rgb).save(tmp_path / "images" / name / "0.png")
    arguments = {"tiling": Tiling(mpp=128 / 224), "model": models.start, "nuclei": models.nuclei}
    paths = tmp_path / "images", tmp_path / "c.csv"
    table_of(tmp_path, "P01", "P02", "Mü")
    with pytest.raises(DataError, match=r"images.p01: patient .* patient 'P01', differ only in"):
        evaluate_mil(*paths, **arguments)
    told = {**arguments, "columns": ClinicalColumns(match="case"), "repeats": 0}
    found = evaluate_mil(*paths, keep=tmp_path / "bags", **told)
    assert {one.patient for one in found.patients} == {"p01", "p02", "mü"}
    # the bags are of those names
    paths = tmp_path / "bags", tmp_path / "c.csv"
    with pytest.raises(DataError, match=r"m%C3%BC\.npy: patient 'mü', and .* 'Mü', differ only"):
        evaluate_mil(*paths, **arguments)
    assert evaluate_mil(*paths, **told).patients == found.patients
    (tmp_path / "bags" / bag_file("p01")).rename(tmp_path / "bags" / bag_file("P01"))
    assert {one.patient for one in evaluate_mil(*paths, **told).patients} == {"p01", "p02", "mü"}


def test_two_bags_of_one_patient_are_refused(tmp_path, models):
    for name in ("007", "7", "8"):
        np.save(tmp_path / bag_file(name), np.zeros((2, 4, 224, 224), np.uint8))
    table_of(tmp_path, "007", "8")
    with pytest.raises(DataError, match=r"7\.npy: is a bag of patient '7', and so is 007\.npy"):
        evaluate_mil(
            tmp_path, tmp_path / "c.csv", columns=ClinicalColumns(match="zeros"),
            model=models.start, nuclei=models.nuclei,
        )  # fmt: skip
