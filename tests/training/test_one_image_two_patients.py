"""An image of two patients is refused: a split could put it on both sides."""

import shutil

import numpy as np
import pytest
from PIL import Image

from qupath_hccmil.errors import DataError
from qupath_hccmil.mil.bags import bag_file
from qupath_hccmil.model_store.model_folder import load_model_folder
from qupath_hccmil.qupath.create_project import NewImage, create_project
from qupath_hccmil.qupath.data_types import ImageEntry, Server, ServerView
from qupath_hccmil.scoring.open_image import image_in_file
from qupath_hccmil.slide_sources.outlined_slides import project_slides
from qupath_hccmil.training.bag_folder import prepared_bags
from qupath_hccmil.training.clinical_table import read_clinical
from qupath_hccmil.training.evaluate_mil import evaluate_mil
from qupath_hccmil.training.image_folders import patient_images
from qupath_hccmil.training.patient_features import find_features
from qupath_hccmil.training.patient_slides import slides_by_patient
from qupath_hccmil.training.prepare_bags import Tiling
from tests.training.feature_cohort import feature_file
from tests.training.two_scenes import two_scenes

NATIVE = Tiling(engine="native")


def clinical_of(folder, rows="P1,good\nP2,poor\n", head="patient,label"):
    (folder / "clinical.csv").write_text(f"{head}\n{rows}")
    return read_clinical(folder / "clinical.csv")


def features_of(folder, *names):
    for name in names:
        feature_file(folder / "features" / f"{name}.h5", np.ones((3, 4)), slide=name)
    return folder / "features"


def test_two_images_of_a_file_may_be_two_patients_and_it_is_said(tmp_path):
    project = two_scenes(tmp_path)
    slides = project_slides(project, ["Tumor"], engine="native").slides
    found = slides_by_patient(slides, clinical_of(tmp_path), ["P1", "P2"])
    assert {patient: len(of) for patient, of in found.slides.items()} == {"P1": 1, "P2": 1}
    (said,) = found.said
    assert said.endswith(
        "both.tif: its images are of 2 patients, 'P1' (scene 0), 'P2' (scene 1); check that they "
        "are"
    )
    features = features_of(tmp_path, "scene 0", "scene 1")
    of = find_features(features, project, clinical_of(tmp_path), ["P1", "P2"], NATIVE)
    assert said in of.said
    # what is made of the first image of a file stays valid, and is not that of the second
    assert [slide.identity.get("image") for slide in slides] == [None, ["series 1"]]
    # of one patient, nothing is to be checked
    other = two_scenes(tmp_path / "other", ("P1", "P1"))
    slides = project_slides(other, ["Tumor"], engine="native").slides
    assert slides_by_patient(slides, clinical_of(tmp_path), ["P1"]).said == []


def test_the_note_is_one_of_the_evaluation(tmp_path, models):
    project = two_scenes(tmp_path)
    clinical_of(tmp_path)
    found = evaluate_mil(
        project, tmp_path / "clinical.csv", model=models.start, nuclei=models.nuclei, repeats=0,
        tiling=Tiling(engine="native", per_patient=2),
    )  # fmt: skip
    assert any("both.tif: its images are of 2 patients" in note for note in found.notes)


def test_one_image_in_a_project_twice_is_refused(tmp_path):
    project = two_scenes(tmp_path, same=True)
    told = r"both\.tif: is of two patients, 'P1' \(as scene 0\) and 'P2' \(as scene 1\), so a split"
    slides = project_slides(project, ["Tumor"], engine="native").slides
    with pytest.raises(DataError, match=told):
        slides_by_patient(slides, clinical_of(tmp_path), ["P1", "P2"])
    features = features_of(tmp_path, "scene 0", "scene 1")
    with pytest.raises(DataError, match=told):
        find_features(features, project, clinical_of(tmp_path), ["P1", "P2"], NATIVE)
    # the slides need not be here, where there are features
    (tmp_path / "both.tif").unlink()
    with pytest.raises(DataError, match=told):
        find_features(features, project, clinical_of(tmp_path), ["P1", "P2"], NATIVE)


def test_a_link_to_a_slide_is_the_slide(tmp_path):
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "P1.svs").touch()
    (tmp_path / "slides" / "P2.svs").symlink_to(tmp_path / "slides" / "P1.svs")
    features = features_of(tmp_path, "P1", "P2")
    with pytest.raises(DataError, match=r"P1\.svs: is of two patients, 'P1' .* and 'P2'"):
        find_features(features, tmp_path / "slides", clinical_of(tmp_path), ["P1", "P2"])
    images = [
        NewImage(tmp_path / "slides" / f"{name}.svs", name, 9, 9, metadata={"Patient ID": name})
        for name in ("P1", "P2")
    ]
    create_project(tmp_path / "project", images)
    with pytest.raises(DataError, match=r"P1\.svs: is of two patients, 'P1' .* and 'P2'"):
        find_features(features, tmp_path / "project", clinical_of(tmp_path), ["P1"], NATIVE)


def test_a_link_to_features_is_the_features(tmp_path):
    features = features_of(tmp_path, "P1")
    (features / "P2.h5").symlink_to(features / "P1.h5")
    # the file names no slide, so that each link is of a slide of its own name
    feature_file(features / "P1.h5", np.ones((3, 4)), slide=None)
    with pytest.raises(DataError, match=r"P1\.h5: is of two patients, 'P1' .* and 'P2'"):
        find_features(features, features, clinical_of(tmp_path), ["P1", "P2"])


def test_a_slide_that_the_table_gives_two_patients_under_two_names_is_refused(tmp_path):
    features = features_of(tmp_path, "a.svs")
    clinical = clinical_of(tmp_path, "P1,good,a.svs\nP2,poor,a\n", "patient,label,slides")
    with pytest.raises(
        DataError,
        match=r"clinical\.csv: slide 'a\.svs' belongs to two patients, 'P1' \(as 'a\.svs'\) and "
        r"'P2' \(as 'a'\); keep one",
    ):
        find_features(features, features, clinical, ["P1", "P2"])


def test_an_image_in_two_patients_folders_is_refused(tmp_path):
    for name in ("P1", "P2"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "P1" / "a.png")
    (tmp_path / "P2" / "b.png").symlink_to(tmp_path / "P1" / "a.png")
    with pytest.raises(
        DataError, match=r"a\.png: is of two patients, 'P1' \(as P1/a.png\) and 'P2' \(as P2/b.png"
    ):
        patient_images(tmp_path)


def test_a_bag_of_two_patients_is_refused(tmp_path, models):
    np.save(tmp_path / bag_file("P1"), np.zeros((2, 4, 8, 8), np.uint8))
    (tmp_path / bag_file("P2")).symlink_to(tmp_path / bag_file("P1"))
    config = load_model_folder(models.start, "mil").config
    with pytest.raises(DataError, match=r"P1\.npy: is of two patients, 'P1' .* and 'P2'"):
        prepared_bags(tmp_path, config)
    (tmp_path / bag_file("P2")).unlink()
    shutil.copy(tmp_path / bag_file("P1"), tmp_path / bag_file("P2"))
    assert prepared_bags(tmp_path, config).keys() == {"P1", "P2"}


OPENSLIDE, BIOFORMATS = (
    "qupath.lib.images.servers.openslide.OpenslideServerBuilder",
    "qupath.lib.images.servers.bioformats.BioFormatsServerBuilder",
)


@pytest.mark.parametrize(
    ("provider", "args", "views", "image"),
    [
        (OPENSLIDE, ("--no-crop",), (), ()),
        (OPENSLIDE, ("--series", "3"), (), ()),
        (BIOFORMATS, (), (), ()),
        (BIOFORMATS, ("--series", "0"), (), ()),
        (BIOFORMATS, ("-s", "2"), (), ("series 2",)),
        (BIOFORMATS, ("--name", "b"), (), ("name b",)),
        (BIOFORMATS, (), (ServerView("rotated", degrees=90), ServerView("pyramidize")), ()),
    ],
)
def test_what_tells_images_of_a_file_apart(provider, args, views, image):
    assert image_in_file(Server("uri", provider, "file:/a", args, views=views)) == image


def test_crops_are_images_of_their_own_and_so_are_series_in_a_uri(tmp_path):
    crops = [
        image_in_file(
            Server("uri", OPENSLIDE, "file:/a", views=(ServerView("cropped", (x, 0, 9, 9)),))
        )
        for x in (0, 9)
    ]
    assert len({*crops, ()}) == 3
    entry = ImageEntry("1", "a", Server("uri", BIOFORMATS, "file:/a#2"))
    assert image_in_file(entry.server) == ("series 2",)
