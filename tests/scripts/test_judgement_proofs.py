"""The proofs of training and judgement run whole on a few patients; the docs have their figures."""

import importlib
import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import ROOT

PATIENTS = 40


@pytest.fixture
def proofs():
    folder = str(ROOT / "scripts" / "research")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("judgement_proofs")
    finally:
        sys.path.remove(folder)
        for name in ("judgement_proofs", "simulated_features"):
            sys.modules.pop(name, None)


def test_each_proof_gives_its_figures(proofs, tmp_path):
    head = replace(proofs.HEAD, epochs=1, tiles=8)
    found = proofs.recovery(tmp_path, PATIENTS, head)
    assert found["patients"] == PATIENTS
    assert 0.5 < found["planted_c_index"] < 0.9
    assert -1 <= found["spearman_of_tiles"] <= 1
    assert (tmp_path / "recovery/judgement/report.html").is_file()
    found = proofs.permuted(tmp_path, PATIENTS, head, runs=1)
    assert (found["runs"], len(found["intervals"])) == (1, 1)
    found = proofs.coverage(cohorts=2, patients=60)
    assert len(found["rows"]) == 18
    assert all(0 <= row["as_reported"] <= 1 for row in found["rows"])
    json.dumps(found)


def test_the_confounded_centre_is_named(proofs, tmp_path):
    head = replace(proofs.HEAD, epochs=1, tiles=8)
    found = proofs.confounded(tmp_path, 60, head)
    for figures in found.values():
        named = [line for line in figures["cautions"] if "is its outcome" in line]
        assert [line.split()[1] for line in named] == ["D"]


def test_a_patients_hazard_is_the_mean_of_its_tiles_and_centres_shift_features(proofs):
    cohort = proofs.simulate(60, seed=2, strength=1.5)
    for one in cohort:
        assert one.hazard == pytest.approx(1.5 * one.tile_hazard.mean())
        assert len(one.features) == len(one.coords) == len(one.tile_hazard)
    centres = {
        name: np.mean([p.features.mean(axis=0) for p in cohort if p.centre == name], axis=0)
        for name in "ABC"
    }
    assert np.linalg.norm(centres["A"] - centres["B"]) > 2
