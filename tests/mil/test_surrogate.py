import cv2
import numpy as np
import pytest

from qupath_hccmil.mil.simulated_cohort import (
    EFFECTS,
    HazardScale,
    Nuclei,
    measure_nuclei,
    simulate_patients,
    stroma_fraction,
)
from qupath_hccmil.mil.simulated_cohort import tile_features as features_of


def discs(radius, count=6):
    mask = np.zeros((200, 200), np.uint8)
    for number in range(count):
        cv2.circle(mask, (20 + 30 * number, 20 + 30 * number), radius, 1, cv2.FILLED)
    return mask > 0


def nuclei(area, haematoxylin=1.0, count=8):
    spread = np.linspace(0.9, 1.1, count)
    return Nuclei(area * spread, np.full(count, 0.9), np.full(count, haematoxylin))


def tile_features(nuclei, dark, stroma=0.2):
    return features_of(nuclei, stroma, dark)


def test_measures_single_nuclei_in_micrometres():
    found = measure_nuclei(discs(10), np.full((200, 200), 1.5), mpp=0.5)
    assert len(found.area) == 6
    assert found.area == pytest.approx(np.pi * 25, rel=0.12)
    assert found.roundness == pytest.approx(0.9, abs=0.1)
    assert found.haematoxylin == pytest.approx(1.5)


def test_leaves_out_merged_nuclei_and_specks():
    mask = discs(10, count=1)
    cv2_mask = mask.astype(np.uint8)
    cv2.circle(cv2_mask, (100, 100), 10, 1, cv2.FILLED)
    cv2.circle(cv2_mask, (122, 100), 12, 1, cv2.FILLED)
    cv2_mask[150, 150] = 1
    assert len(measure_nuclei(cv2_mask > 0, np.zeros((200, 200)), 0.5).area) == 1


def test_each_feature_moves_the_hazard_its_way():
    ordinary = tile_features(nuclei(40), dark=2)
    varied = tile_features(Nuclei(40 * np.array([0.3, 1, 1, 1, 3]), np.ones(5), np.ones(5)), dark=2)
    immune = tile_features(nuclei(15, haematoxylin=3), dark=2)
    hyperchromatic = tile_features(nuclei(40, haematoxylin=1.8), dark=2)
    large = tile_features(nuclei(90), dark=2)
    fibrous = tile_features(nuclei(40), dark=2, stroma=0.5)
    scale = HazardScale.fit([ordinary, varied, immune, hyperchromatic, large, fibrous])
    base = scale.hazard(ordinary)
    assert min(scale.hazard(f) for f in (varied, hyperchromatic, large, fibrous)) > base
    without = {**immune, "hyperchromasia": ordinary["hyperchromasia"]}
    assert scale.hazard(without) < base


def test_stroma_is_pink_tissue_away_from_nuclei():
    mask = np.zeros((100, 100), bool)
    mask[:, :20] = True
    eosin = np.ones((100, 100))
    haematoxylin = np.zeros((100, 100))
    haematoxylin[:, 80:] = 2
    # 20 px of nuclei, then 8 µm = 16 px beside them, then pink up to 80, then blue.
    assert stroma_fraction(mask, haematoxylin, eosin, 0.5) == pytest.approx(0.44, abs=0.011)
    assert stroma_fraction(mask, haematoxylin, 0.1 * eosin, 0.5) == 0


def test_a_tile_of_few_nuclei_is_neutral_in_what_it_cannot_show():
    few = tile_features(nuclei(40, count=2), dark=2)
    assert np.isnan(few["nuclear_size"])
    scale = HazardScale.fit([tile_features(nuclei(a), 2) for a in (20, 40, 80)] + [few])
    assert scale.standard(few)["nuclear_size"] == 0
    assert np.isfinite(scale.hazard(few))
    assert set(scale.mean) == set(EFFECTS)


def test_patients_of_high_hazard_recur_earlier():
    features = np.random.default_rng(0).normal(size=(300, 3))
    hazards = features @ (1, 0.5, -0.5)
    patients = simulate_patients(None, features, hazards, 400, 16, seed=1)
    again = simulate_patients(None, features, hazards, 400, 16, seed=1)
    assert [(p.time, p.event) for p in patients] == [(p.time, p.event) for p in again]
    order = np.argsort([p.hazard for p in patients])
    low, high = ([patients[i].event for i in part] for part in (order[:100], order[-100:]))
    assert np.mean(high) > np.mean(low) + 0.3
    assert all(0 < p.time <= 12 for p in patients)


def test_patients_differ_in_each_feature_apart():
    features = np.random.default_rng(0).normal(size=(600, 2))
    patients = simulate_patients(None, features, features @ (1, -1), 400, 16, seed=1)
    means = np.array([features[patient.bag.indices].mean(axis=0) for patient in patients])
    assert means.std(axis=0).min() > 0.4
    assert abs(np.corrcoef(means.T)[0, 1]) < 0.2
