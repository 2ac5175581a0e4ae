"""What makes earlier scores stale."""

from dataclasses import replace

from qupath_hccmil.qupath.data_types import Server, ServerView
from qupath_hccmil.scoring.score_settings import ScoreSettings

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
