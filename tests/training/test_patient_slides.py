"""Which slides are a patient's, and what is said of slides that the table names in vain."""

from dataclasses import dataclass
from pathlib import Path

from qupath_hccmil.method.outcome_label import LabelledCohort
from qupath_hccmil.slide_sources.file_image import FileImage
from qupath_hccmil.slide_sources.left_out import LeftOut
from qupath_hccmil.training.clinical_table import Clinical
from qupath_hccmil.training.patient_slides import NOT_THERE, slides_by_patient


@dataclass(frozen=True)
class Named:
    name: str
    patient: str | None = None

    @property
    def path(self) -> Path:
        return Path("slides", self.name)

    @property
    def file_images(self) -> tuple[FileImage, ...]:
        return (FileImage.of(self.path),)


def test_a_slide_of_the_table_that_is_nowhere_is_named():
    slides = [Named("a1.svs"), Named("b.svs")]
    table = {"a": ("a1", "a2.svs", "a3"), "b": ("b.svs",), "c": ("c1", "c2")}
    clinical = Clinical(Path("t.csv"), LabelledCohort({"a": 1, "b": 0}, {"c": "no label"}), table)
    found = slides_by_patient(slides, clinical, ["a", "b"], unusable=["a3.svs"])
    left_out = found.left_out
    assert {patient: [each.name for each in of] for patient, of in found.slides.items()} == {
        "a": ["a1.svs"], "b": ["b.svs"],
    }  # fmt: skip
    assert left_out == [LeftOut("slide", "a2.svs", NOT_THERE, "of patient a")]
    # c is not trained on, and would be named for all of their slides
    assert str(left_out[0]).startswith("slide a2.svs: in the table, but not among the slides")
