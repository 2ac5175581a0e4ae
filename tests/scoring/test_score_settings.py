"""What makes earlier scores stale."""

from dataclasses import fields, replace

import pytest

from qupath_hccmil.cli import options
from qupath_hccmil.cli.score import score
from qupath_hccmil.qupath.data_types import Server, ServerView
from qupath_hccmil.scoring.score_settings import ScoreSettings
from qupath_hccmil.scoring.workflow_step import reproduce

SERVER = Server("uri", "", "file:/a.svs", pixel_width=0.25, pixel_height=0.25)


def test_whatever_changes_scores_changes_the_fingerprint():
    settings = ScoreSettings()
    same = settings.fingerprint("weights", SERVER)
    assert ScoreSettings().fingerprint("weights", replace(SERVER, uri="file:/moved.svs")) == same
    others = [
        settings.fingerprint("others", SERVER),
        replace(settings, min_inside=0.6).fingerprint("weights", SERVER),
        settings.fingerprint("weights", replace(SERVER, pixel_width=0.5)),
        settings.fingerprint("weights", replace(SERVER, views=(ServerView("rotated", None, 90),))),
    ]
    assert same not in others
    assert len(set(others)) == len(others)


OTHER = ScoreSettings(
    mpp=0.5,
    min_inside=0.6,
    max_tiles=7,
    seed=1,
    stain="staintools",
    annotation_classes=("HCC",),
    precision="f32",
)


@pytest.mark.parametrize("name", [field.name for field in fields(ScoreSettings)])
def test_every_setting_is_an_option_and_is_in_the_workflow_step(name: str):
    changed = replace(ScoreSettings(), **{name: getattr(OTHER, name)})
    assert changed != ScoreSettings()
    words = reproduce(changed, None, "native")
    with score.make_context("score", ["project", *words]) as context:
        given = options.settings_given(ScoreSettings, context.params)
    assert ScoreSettings(**given) == changed
