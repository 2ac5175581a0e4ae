"""Which files of features are a patient's, where names of slides are not unique."""

import h5py
import numpy as np
import pytest

from qupath_hccmil.errors import DataError, FeatureFileError
from qupath_hccmil.training.clinical_table import read_clinical
from qupath_hccmil.training.patient_features import find_features
from qupath_hccmil.training.prepare_bags import Tiling
from tests.training.feature_cohort import feature_file


@pytest.fixture
def cohort(tmp_path):
    """Two patients with a file each, and slides in folders."""
    for name in ("p1-0", "p2-0"):
        feature_file(tmp_path / "features" / f"{name}.h5", np.ones((3, 4)))
    (tmp_path / "clinical.csv").write_text("patient,label\np1,good\np2,poor\n")
    for folder in ("a", "b"):
        (tmp_path / "slides" / folder).mkdir(parents=True)
    (tmp_path / "slides" / "a" / "p2-0.svs").touch()
    return tmp_path


def found(cohort, source, **tiling):
    clinical = read_clinical(cohort / "clinical.csv")
    return find_features(
        cohort / "features", source, clinical, ("p1", "p2"), Tiling(engine="native", **tiling)
    )


@pytest.mark.parametrize("names", [("a/p1-0.svs", "b/p1-0.svs"), ("a/p1-0.svs", "a/p1-0.ndpi")])
def test_two_slides_that_could_be_of_one_file_are_left_out(cohort, names):
    """Else the tiles of the file would count twice."""
    for name in names:
        (cohort / "slides" / name).touch()
    of = found(cohort, cohort / "slides")
    assert {name: len(bag) for name, bag in of.bags.items()} == {"p2": 3}
    reasons = [(one.reason, one.detail) for one in of.left_out if one.what == "slide"]
    assert reasons == [("several files with this name", "p1-0.h5")] * 2


def test_files_that_cannot_be_used_are_named_together(cohort):
    (cohort / "features" / "p3.h5").write_bytes(b"no")
    with h5py.File(cohort / "features" / "p4.h5", "w") as file:
        file["features"], file["coords"] = np.zeros((0, 4)), np.zeros((0, 2))
    with pytest.raises(FeatureFileError) as caught:
        found(cohort, cohort / "features")
    said = str(caught.value)
    assert "p3.h5: is not an HDF5 file" in said
    assert said.endswith("; 1 more cannot be used: p4.h5")


def test_images_are_chosen_in_projects_only(cohort):
    with pytest.raises(DataError, match=r"slides: is not a QuPath project, so --image p1\* can't"):
        found(cohort, cohort / "slides", images=("p1*",))
    with pytest.raises(DataError, match="features: is not a QuPath project"):
        found(cohort, cohort / "features", images=("p1*",))
