"""``demo``: the first thing that a new user runs."""

from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.native.native_project import NativeProject


def test_the_drawn_demo_needs_no_download_no_qupath_and_no_java(cli, tmp_path):
    ran = cli("demo", tmp_path / "demo", "--drawn", "--engine", "native")
    assert ran.code == 0, ran.err
    assert "Open in QuPath: " in ran.out
    assert "then Extensions > HCC-MIL" in ran.out
    assert "surrogate" in ran.out
    assert "research use only" in ran.out
    (picture,) = (tmp_path / "demo" / "results").glob("*.png")
    assert str(picture) in ran.out
    with NativeProject(tmp_path / "demo" / "qupath") as project:
        (entry,) = project.images
        assert names.META_RISK in entry.metadata
        assert project.read(entry).results.root[names.SLIDE_TILES] > 100
