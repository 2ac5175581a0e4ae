"""Bad input: one line each, the other images done, the project as it was."""

import shutil

import pytest
from PIL import Image
from shapely.geometry import box

from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.native.native_project import NativeProject

FULL = box(300, 300, 2700, 2100)


@pytest.fixture(scope="module")
def mixed(drawn_demo, tmp_path_factory):
    """A project of images that cannot be scored around one that can."""
    folder = tmp_path_factory.mktemp("mixed")
    (slide,) = (drawn_demo / "slides").glob("*.tif")
    good = folder / "good.tif"
    shutil.copy(slide, good)
    (folder / "truncated.tif").write_bytes(slide.read_bytes()[: slide.stat().st_size // 3])
    (folder / "text.svs").write_text("not an image")
    Image.new("RGB", (3000, 2400), "white").save(folder / "glass.png")

    def image(name, path, *annotations, mpp=0.25):
        return NewImage(path, name, 3000, 2400, mpp, annotations=annotations)

    tumour = NewAnnotation(FULL, "Tumor")
    create_project(
        folder / "project",
        [
            image("missing", folder / "away.svs", tumour),
            image("unoutlined", good),
            image("other class", good, NewAnnotation(FULL, "Stroma")),
            image("tiny", good, NewAnnotation(box(700, 700, 760, 760), "Tumor")),
            image("uncalibrated", folder / "text.svs", tumour, mpp=None),
            image("too coarse", good, tumour, mpp=4.0),
            image("truncated", folder / "truncated.tif", tumour),
            image("no image", folder / "text.svs", tumour),
            image("glass", folder / "glass.png", tumour),
            image("good", good, tumour),
        ],
    )
    return folder / "project"


REASONS = {
    "missing": "away.svs",
    "unoutlined": "no annotations",
    "other class": "its classes: Stroma",
    "tiny": "too small",
    "uncalibrated": "text.svs",
    "too coarse": "4 µm/px from QuPath's calibration is outside 0.1–2",
    "truncated": "truncated.tif",
    "no image": "text.svs",
    "glass": "background",
}


def test_each_bad_image_has_its_line_and_the_good_one_is_scored(cli, mixed):
    before = {p: p.read_bytes() for p in sorted(mixed.rglob("data.qpdata"))}
    ran = cli("score", mixed, "--engine", "native")
    assert ran.code == 3
    failed = ran.err.splitlines()
    assert len(failed) == len(REASONS), ran.err
    for line, (name, reason) in zip(failed, REASONS.items(), strict=True):
        assert line.startswith(f"{name}: FAILED: ")
        assert reason in line
    assert "good: risk" in ran.out
    assert "1 scored, 9 failed" in ran.out
    with NativeProject(mixed) as project:
        *bad, good = project.images
        assert project.read(good).results
        assert not any(project.read(entry).results for entry in bad)
    changed = [path.parent.name for path, content in before.items() if path.read_bytes() != content]
    assert changed == [good.id]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("score", "nowhere"), 1, "nowhere: does not exist"),
        (("score", "."), 1, "no .qpproj"),
        (("score", "{project}", "--image", "x*"), 1, "no image is named x*"),
        (("score", "{project}", "--model", "."), 1, "not a model folder"),
        (("score", "{project}", "--mpp", "-1"), 2, "--mpp"),
        (("score", "{project}", "--mpp", "5"), 3, "5 µm/px from --mpp"),
        (("score", "{project}", "--max-tiles", "0"), 2, "--max-tiles"),
        (("score", "{project}", "--engine", "java"), 2, "--engine"),
        (("score", "{project}", "--device", "cpu", "--slides", "nowhere"), 2, "nowhere"),
        (("export", "{project}", "scores.docx"), 1, ".docx"),
        (("project", "restore", "{project}", "yesterday"), 1, "no backup"),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_one_clear_line_and_the_exit_code(
    cli, project, tmp_path, monkeypatch, arguments, code, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    ran = cli(*(argument.format(project=project) for argument in arguments))
    assert ran.code == code, ran
    assert message in ran.err
    assert "Traceback" not in ran.err
    if code == 1:
        assert len(ran.err.splitlines()) == 1


def test_a_model_with_the_wrong_hash_is_refused_before_anything_is_read(cli, project, tmp_path):
    from qupath_hccmil.model_store.model_folder import default_model_dir

    model = tmp_path / "model"
    shutil.copytree(default_model_dir("mil"), model)
    with (model / "weights.safetensors").open("ab") as weights:
        weights.write(b"\0")
    ran = cli("score", project, "--engine", "native", "--model", model)
    assert ran.code == 1
    assert "sha256" in ran.err


def test_debug_shows_the_traceback(cli):
    ran = cli("score", "nowhere", "--debug")
    assert ran.code == 1
    assert "Traceback" in ran.err
