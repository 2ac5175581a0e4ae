"""``train mil --features`` and ``evaluate mil --features`` through the command line."""

import json

import pytest

from qupath_hccmil.model_store.model_folder import load_model_folder
from tests.training.feature_cohort import feature_cohort

FAST = ("--epochs", 1, "--batch", 8, "--tiles", 4, "--head", "abmil", "--loss", "cox")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return feature_cohort(tmp_path_factory.mktemp("cohort"), patients=30)


def test_a_head_is_trained_and_evaluated(cli, cohort, tmp_path):
    features, table, out = cohort / "features", cohort / "clinical.csv", tmp_path / "out"
    given = ("train", "mil", features, table, "--features", features, "--out", out)
    ran = cli(*given, *FAST, "--folds", 2, "--seed", 3, "--weight-decay", 0.1)
    assert ran.code == 0, ran.err
    assert "features of patient p000 ready (1 of 30)" in ran.err
    assert "Trained on, from features of tiny: " in ran.out
    assert "fold 2, epoch 1: loss" in ran.out
    assert "nan" not in ran.out
    assert "Cross-validation: C-index 0." in ran.out
    assert "Slides of a patient: pool: the head over the tiles of all slides" in ran.out
    assert f"{out / 'model'}: held-out C-index " in ran.out
    training = load_model_folder(out / "model", "mil").config.training
    found = tuple(training[name] for name in ("head", "loss", "batch", "seed", "weight_decay"))
    assert found == ("abmil", "cox", 8, 3, 0.1)
    ran = cli(
        "evaluate", "mil", features, table, "--features", features, "--model", out / "model",
        "--bootstrap", 20, "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["followed"] == 30


def test_settings_of_a_head_come_from_a_file_too(cli, cohort, tmp_path):
    (tmp_path / "s.toml").write_text(
        'head = "transformer"\nloss = "discrete-time"\nepochs = 1\nbins = 3\n'
        "[arguments]\nhidden = 8\nheads = 2\nlayers = 1\n"
    )
    features, out = cohort / "features", tmp_path / "out"
    ran = cli(
        "train", "mil", features, cohort / "clinical.csv", "--features", features, "--out", out,
        "--settings", tmp_path / "s.toml", "--quiet",
    )  # fmt: skip
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    architecture = load_model_folder(out / "model", "mil").config.architecture
    assert architecture == {
        "name": "transformer", "width": 8, "hidden": 8, "heads": 2, "layers": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (("--head", "abmil"), 2, "--head needs --features; give the folder of features"),
        (("--loss", "cox"), 2, "--loss needs --features"),
        (("--features", "F", "--alpha", 1), 2, "--alpha does not go with --features; leave one"),
        (("--features", "F", "--start", "F"), 2, "--start does not go with --features"),
        (("--features", "F", "--mpp", 0.5), 2, "--mpp does not go with --features"),
        (("--chosen-by", "c_index"), 2, "--chosen-by c_index is not possible without --features"),
        (
            ("--features", "F", "--chosen-by", "cross_entropy"),
            2,
            "cross_entropy is not possible with --features; there are: loss, auc, c_index",
        ),
        (("--features", "F", "--head", "mean", "--power", 2), 2, "used by --head published only"),
        (("--features", "F", "--loss", "cox", "--threshold", 0.4), 2, "by --loss outcome only"),
        (("--features", "F", "--bins", 4), 2, "--bins is used by --loss discrete-time only"),
    ],
)
def test_options_that_do_not_go_together_are_refused(cli, cohort, tmp_path, given, code, message):
    features = cohort / "features"
    given = [features if value == "F" else value for value in given]
    ran = cli("train", "mil", features, cohort / "clinical.csv", "--out", tmp_path / "out", *given)
    assert ran.code == code
    assert message in ran.err
    assert not (tmp_path / "out").exists()


def test_a_wrong_argument_of_a_head_is_one_line(cli, cohort, tmp_path):
    (tmp_path / "s.toml").write_text("[arguments]\nwide = 8\n")
    features = cohort / "features"
    ran = cli(
        "train", "mil", features, cohort / "clinical.csv", "--features", features,
        "--out", tmp_path / "out", "--settings", tmp_path / "s.toml",
    )  # fmt: skip
    assert ran.code == 1
    assert "unexpected keyword argument 'wide'" in ran.err
    assert "Traceback" not in ran.err
