"""A model's temperature enters once, and everything that is made of tile values follows."""

import json
import shutil

import numpy as np
import pytest

from qupath_hccmil.errors import ModelError
from qupath_hccmil.method.aggregation import contributions, risk, slide_logit
from qupath_hccmil.model_store.model_folder import default_model_dir, load_model_folder
from qupath_hccmil.scoring.scorer import ScorerSource
from tests.blobs import blob_image
from tests.tile_logits import tile_logits

T = 2.5


def with_temperature(folder, value):
    """Copies of the models that ship, the risk model with a temperature."""
    for kind in ("mil", "nuclei"):
        source = default_model_dir(kind)
        shutil.copytree(source, folder / source.name)
    path = folder / default_model_dir("mil").name
    config = json.loads((path / "config.json").read_text())
    config["risk"]["temperature"] = value
    (path / "config.json").write_text(json.dumps(config))
    return path


def logits_of(scorer):
    tiles = np.stack([blob_image(seed, 224, 10 + 20 * seed)[0] for seed in range(4)])
    return tile_logits(scorer.judge.runtime, tiles)


def test_slide_logit_and_contributions_are_those_over_t(tmp_path):
    plain = ScorerSource(with_temperature(tmp_path / "plain", 1.0), device="cpu")
    expected = logits_of(plain.scorer())
    warm = ScorerSource(with_temperature(tmp_path / "warm", T), device="cpu")
    scorer = warm.scorer()
    logits = logits_of(scorer)
    # Two networks are compiled, which may round apart; a T that were forgotten is far more.
    np.testing.assert_allclose(logits, expected / T, rtol=1e-4, atol=1e-4)
    assert np.abs(expected - expected / T).max() > 0.01
    # What follows from tile logits is exact.
    s = T * slide_logit(logits, scorer.p)
    assert slide_logit(T * logits, scorer.p) == pytest.approx(s)
    m = contributions(logits, scorer.p).sum()
    assert risk(np.sign(m) * abs(m) ** (1 / scorer.p)) == pytest.approx(risk(s / T), abs=1e-6)
    assert scorer.facts["temperature"] == T
    # The same weights, another model: earlier scores are stale.
    assert warm.identity != plain.identity
    assert scorer.weights_sha256 == plain.scorer().weights_sha256


def test_a_model_without_one_has_1_and_a_wrong_one_is_refused(tmp_path):
    config = json.loads((default_model_dir("mil") / "config.json").read_text())
    config["risk"].pop("temperature", None)
    path = with_temperature(tmp_path, 0.0)
    with pytest.raises(ModelError, match=r"risk"):
        load_model_folder(path, "mil")
    (path / "config.json").write_text(json.dumps(config))
    folder = load_model_folder(path, "mil")
    assert folder.config.risk.temperature == 1
