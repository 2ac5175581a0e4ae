"""The demo's project: a slide, outlines of class Tumor, and plain words about what it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import openslide
import pytest
import shapely

from qupath_hccmil.cache_folder import CACHE_VARIABLE
from qupath_hccmil.demo import cmu
from qupath_hccmil.demo.demo_project import DRAWN_NAME, DemoProject, make_demo_project
from qupath_hccmil.errors import AnnotationError, ProjectError, SlideError, SlideMissingError
from qupath_hccmil.qupath.data_types import ImageState
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.selection import tumour_annotations
from qupath_hccmil.slides.open_slide import open_slide
from tests.conftest import qupath_dirs

SMALL = (2050, 1610)


def state_of(demo: DemoProject) -> ImageState:
    with NativeProject(demo.project) as project:
        (entry,) = project.images
        return project.read(entry)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> DemoProject:
    folder = tmp_path_factory.mktemp("demo") / "new" / "demo"
    return make_demo_project(folder, drawn=True, drawn_size=SMALL)


def test_the_drawn_demo_holds_the_planted_tumours(made: DemoProject) -> None:
    state = state_of(made)
    assert made.drawn is not None
    assert state.image_type == "BRIGHTFIELD_H_E"
    assert state.entry.name == DRAWN_NAME
    assert state.entry.server.pixel_width == pytest.approx(0.25)
    assert (state.entry.server.width, state.entry.server.height) == SMALL
    outlines = tumour_annotations(state)
    assert len(outlines) == len(made.drawn.tumours)
    for outline, planted in zip(outlines, made.drawn.tumours, strict=True):
        both = shapely.intersection(outline.geometry, planted).area
        assert both == pytest.approx(planted.area, rel=1e-3)
    assert any("drawn" in line for line in made.lines)
    with open_slide(made.slide) as slide:
        assert slide.mpp == pytest.approx((0.25, 0.25))


def test_a_second_time_it_is_used_as_it_is(made: DemoProject) -> None:
    before = made.project.read_bytes()
    again = make_demo_project(made.project.parents[1], drawn=True, drawn_size=SMALL)
    assert (again.project, again.slide) == (made.project, made.slide)
    assert made.project.read_bytes() == before
    assert "used as it is" in again.lines[0]
    assert make_demo_project(made.project.parents[1]).slide == made.slide


def test_a_demo_of_another_slide_is_not_mixed_up(made: DemoProject, tmp_path: Path) -> None:
    other = tmp_path / "other.svs"
    other.write_bytes(b"x")
    with pytest.raises(
        ProjectError, match=r"contains a project with drawn-liver-tumour\.tif, not with"
    ):
        make_demo_project(made.project.parents[1], other)


def test_offline_the_slide_is_drawn_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    demo = make_demo_project(tmp_path / "demo", drawn_size=SMALL)
    assert demo.drawn is not None
    assert "pip cannot download" in demo.lines[0]
    assert "a slide is drawn instead" in demo.lines[0]


def test_the_real_slide_gets_its_tissue_outlined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    (tmp_path / "cache").mkdir()
    content = (data_dir / "slides" / cmu.FILE_NAME).read_bytes()
    (tmp_path / "cache" / cmu.FILE_NAME).write_bytes(content)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    demo = make_demo_project(tmp_path / "demo")
    assert demo.slide == tmp_path / "demo" / "slides" / cmu.FILE_NAME
    assert demo.slide.read_bytes() == content
    state = state_of(demo)
    assert state.entry.server.pixel_width == pytest.approx(0.499)
    assert sum(a.geometry.area for a in tumour_annotations(state)) > 0.3 * 2220 * 2967
    assert any("stand-in" in line for line in demo.lines)


def test_the_users_slide_stays_where_it_is(made: DemoProject, tmp_path: Path) -> None:
    demo = make_demo_project(tmp_path / "demo", made.slide)
    assert demo.slide == made.slide
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["qupath"]
    assert state_of(demo).entry.server.uri.endswith(made.slide.name)
    assert len(tumour_annotations(state_of(demo))) == 1


def test_a_slide_that_cannot_serve_is_one_line(tmp_path: Path) -> None:
    text = tmp_path / "text.svs"
    text.write_text("no slide")
    for slide, error, told in (
        (tmp_path / "no.svs", SlideMissingError, r"no\.svs: no such slide"),
        (text, SlideError, r"text\.svs: is not an image"),
    ):
        with pytest.raises(error, match=told) as raised:
            make_demo_project(tmp_path / "demo", slide)
        assert "\n" not in str(raised.value)
    assert not (tmp_path / "demo").exists()


def test_empty_glass_is_one_line(tmp_path: Path) -> None:
    from qupath_hccmil.demo.pyramid import write_pyramid

    glass = tmp_path / "glass.tif"
    write_pyramid(
        glass, 1200, 1100, 0.25, lambda x, y, w, h: np.full((h, w, 3), 243, dtype=np.uint8)
    )
    with pytest.raises(AnnotationError, match=r"glass\.tif: no tissue"):
        make_demo_project(tmp_path / "demo", glass)


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path, made: DemoProject) -> None:
    (tmp_path / "qupath").mkdir()
    (tmp_path / "qupath" / "mine.txt").write_text("x")
    with pytest.raises(ProjectError, match="not empty"):
        make_demo_project(tmp_path, made.slide)
    assert [path.name for path in (tmp_path / "qupath").iterdir()] == ["mine.txt"]


@pytest.mark.qupath
@pytest.mark.parametrize(
    "qupath", qupath_dirs() or [None], ids=lambda path: getattr(path, "name", "none")
)
def test_real_qupath_opens_it_with_its_pixels(made: DemoProject, qupath: Path | None) -> None:
    if qupath is None:
        pytest.skip("no QuPath: set PAQUO_QUPATH_DIR or install one at /opt/QuPath-*")
    if not list(qupath.rglob("*openslide*.jar")):
        pytest.skip(f"{qupath} holds no OpenSlide")
    script = Path(__file__).with_name("read_project_in_qupath.py")
    done = subprocess.run(
        [sys.executable, str(script), str(made.project)],
        env={**os.environ, "PAQUO_QUPATH_DIR": str(qupath)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout.splitlines()[-1])
    assert shown["size"] == list(SMALL)
    assert shown["mpp"] == pytest.approx(0.25)
    assert shown["type"] == "BRIGHTFIELD_H_E"
    assert made.drawn is not None
    assert [name for name, _, _ in shown["annotations"]] == ["Tumor"] * len(made.drawn.tumours)
    areas = [area for _, _, area in shown["annotations"]]
    assert sorted(areas) == pytest.approx(sorted(t.area for t in made.drawn.tumours), rel=1e-3)
    assert shown["thumbnail"] == [513, 403]
    with openslide.OpenSlide(made.slide) as slide:
        ours = slide.read_region((800, 800), 1, (1, 1)).getpixel((0, 0))
    assert shown["pixel"] == pytest.approx(list(ours)[:3], abs=8)
