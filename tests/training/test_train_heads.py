import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box

from qupath_hccmil.errors import DataError, FeatureFileError, ModelError, WriteError
from qupath_hccmil.heads.head import load_head
from qupath_hccmil.heads.head_settings import HeadSettings
from qupath_hccmil.method.aggregation import risk
from qupath_hccmil.method.concordance import concordance
from qupath_hccmil.mil.threshold_and_temperature import DecisionRule
from qupath_hccmil.model_store.model_folder import load_model_folder
from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.training.evaluate_mil import evaluate_mil
from qupath_hccmil.training.prepare_bags import Tiling
from qupath_hccmil.training.train_heads import CACHE, train_head
from tests.encoders.tiny import tiny_encoder
from tests.no_room import no_file_above
from tests.training.conftest import drawn_slide
from tests.training.feature_cohort import SHA256, feature_cohort, feature_file

FAST = HeadSettings(
    head="additive",
    loss="cox",
    arguments={"hidden": 16, "attention": 8},
    epochs=3,
    batch=8,
    tiles=6,
    learning_rate=0.01,
)


def train(folder, out, settings=FAST, **arguments):
    features = arguments.pop("features", folder / "features")
    source = arguments.pop("source", features)
    return train_head(
        source, folder / "clinical.csv", out, features, settings=settings, repeats=20, **arguments
    )


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return feature_cohort(tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def trained(cohort, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "out"
    said = []
    model = train(cohort, out, folds=2, chosen=lambda choices: said.extend(choices.lines()))
    return model, out, said


def test_trains_a_model_folder_and_says_who_was_used(cohort, trained):
    model, out, said = trained
    config = load_model_folder(out / "model", "mil").config
    assert config.architecture == {"name": "additive", "width": 8, "hidden": 16, "attention": 8}
    features = config.features
    assert (features.encoder, features.encoder_sha256, features.width) == ("tiny", SHA256, 8)
    assert (features.tile_um, features.tile_px, features.stain) == (128.0, 256, "none")
    assert (config.geometry.tile_um, config.geometry.tile_px) == (128.0, 256)
    assert config.risk.nuclei_model is None
    assert config.training["loss"] == "cox"
    table = pd.read_csv(cohort / "clinical.csv")
    events = int(table.event.sum())
    assert said[-2:] == [
        f"Table: follow-up of 40 patients, {events} events",
        f"Trained on, from features of tiny: {events} with an event, {40 - events} censored; "
        "480 tiles",
    ]
    assert model.held_out.patients == 8
    # The copy of the features is gone, and everything else is there.
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoint.safetensors", "curve.png", "folds", "left_out.csv", "log.csv", "model",
        "predictions.csv",
    ]  # fmt: skip


def test_every_patient_is_predicted_by_a_head_that_never_saw_them(trained):
    model, out, _ = trained
    rows = pd.read_csv(out / "predictions.csv")
    assert len(rows) == rows.patient.nunique() == 40
    assert set(rows.fold) == {1, 2}
    np.testing.assert_allclose(rows.r, risk(rows.logit / rows.temperature))
    assert rows.rule.str.startswith("pool: the head over the tiles of all slides").all()
    assert rows.time.notna().all()
    folds = load_model_folder(out / "model", "mil").config.metrics["cross_validation"]["folds"]
    assert len(folds) == 2
    # The share of concordant pairs among all that lie within a fold, as a judgement has it.
    right = usable = 0.0
    for number, (_, own) in enumerate(rows.groupby("fold")):
        t, e = own.time.to_numpy(), own.event.to_numpy(bool)
        pairs = ((t[:, None] < t) | ((t[:, None] == t) & ~e))[e].sum()
        value = concordance(t, e, own.logit.to_numpy())
        assert folds[number]["c_index"]["value"] == pytest.approx(value)
        right, usable = right + pairs * value, usable + pairs
    pooled = model.cross_validation.pooled.c_index
    assert pooled.value == pytest.approx(right / usable)
    assert pooled.low < pooled.value < pooled.high


def test_the_threshold_of_a_loss_without_level_is_the_median_risk(trained):
    model, out, _ = trained
    rows = pd.read_csv(out / "predictions.csv")
    threshold = model.folder.config.risk.threshold
    assert threshold == pytest.approx(float(risk(np.median(rows.logit))))


def test_the_card_fills_itself_in(trained):
    _, out, _ = trained
    card = (out / "model" / "README.md").read_text(encoding="utf-8")
    assert "| loss | Cox partial likelihood, ties by Efron |" in card
    assert "| patients | 40 | 32 | 8 |" in card
    assert "| age, median (quartiles) | 59.5 (49.75–69.25) |" in card
    assert "| sex: male | 20 (50 %) |" in card
    assert "| out of fold, 2 folds (40 patients" in card
    for item, words in {
        "5a": "features",
        "8a": "Time to recurrence in years",
        "12a": "out of fold, 2 folds",
        "22": "weights.safetensors",
        "17": "To be written by the authors.",
    }.items():
        row = next(line for line in card.splitlines() if line.startswith(f"| {item} |"))
        assert words in row


def test_a_killed_training_goes_on_and_ends_with_the_same_model(cohort, trained, tmp_path):
    _, whole, _ = trained
    for kill_at in ({"fold": 2, "epoch": 2}, {"epoch": 2}):

        def kill(row, kill_at=kill_at):
            if {name: row.get(name) for name in ("fold", "epoch")} == {"fold": None, **kill_at}:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(cohort, tmp_path / "out", folds=2, progress=kill)
        kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / CACHE).iterdir()}
        assert len(kept) == 40
    train(cohort, tmp_path / "out", folds=2)
    for name in (
        "checkpoint.safetensors",
        "predictions.csv",
        "log.csv",
        "model/weights.safetensors",
    ):
        assert (tmp_path / "out" / name).read_bytes() == (whole / name).read_bytes()
    assert not (tmp_path / "out" / CACHE).exists()


def test_features_that_were_written_again_are_not_taken_from_an_older_copy(tmp_path):
    folder = feature_cohort(tmp_path, patients=30)

    def kill(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(folder, tmp_path / "out", progress=kill)
    (tmp_path / "out" / "checkpoint.safetensors").unlink(missing_ok=True)
    values = np.random.default_rng(5).normal(size=(12, 8))
    feature_file(folder / "features" / "p001-0.h5", values)
    model = train(folder, tmp_path / "out")
    other = train(folder, tmp_path / "other")
    assert model.held_out.as_dict() == other.held_out.as_dict()


def test_a_full_disk_leaves_no_part_of_a_copy(tmp_path):
    folder = feature_cohort(tmp_path, patients=30)
    with no_file_above(300), pytest.raises(WriteError, match=r"p000.*cannot be written"):
        train(folder, tmp_path / "out")
    assert list((tmp_path / "out" / CACHE).iterdir()) == []
    assert train(folder, tmp_path / "out").held_out.patients > 0


def test_a_copy_that_was_removed_meanwhile_is_named(tmp_path):
    folder = feature_cohort(tmp_path, patients=30)

    def remove(row):
        for path in (tmp_path / "out" / CACHE).iterdir():
            path.unlink()

    with pytest.raises(DataError, match=r"\.npy: was removed or is damaged; run the same command"):
        train(folder, tmp_path / "out", progress=remove)


def test_an_external_cohort_is_evaluated_from_its_features(trained, tmp_path):
    _, out, _ = trained
    folder = feature_cohort(tmp_path, patients=30, seed=3)
    features, table = folder / "features", folder / "clinical.csv"
    found = evaluate_mil(features, table, model=out / "model", features=features, repeats=20)
    assert found.followed == 30
    assert found.c_index.value > 0.6
    head = load_head(load_model_folder(out / "model", "mil"))
    assert found.rule.startswith("pool: the head over the tiles")
    assert len(found.patients) == 30
    assert found.threshold == load_model_folder(out / "model", "mil").config.risk.threshold
    assert not head.training
    with pytest.raises(DataError, match="for --patient-rule max, score the project"):
        evaluate_mil(features, table, model=out / "model", features=features, patient_rule="max")


def test_evaluation_gives_what_training_held_out(cohort, trained):
    model, out, _ = trained
    features, table = cohort / "features", cohort / "clinical.csv"
    found = evaluate_mil(features, table, model=out / "model", features=features, repeats=20)
    logits = {score.patient: score.logit for score in found.patients}
    held_out = {score.patient: score.logit for score in model.held_out.scores.bags}
    assert held_out
    for patient, logit in held_out.items():
        assert logits[patient] == pytest.approx(logit, abs=1e-5)


def test_threshold_and_temperature_are_derived_from_patients_with_a_label(cohort, tmp_path):
    model = train(cohort, tmp_path / "out", rule=DecisionRule(True, True), share=0.5)
    numbers = model.folder.config.risk
    assert numbers.temperature != 1
    assert "by Youden's J" in (model.folder.path / "README.md").read_text(encoding="utf-8")
    head = load_head(model.folder)
    assert float(head.temperature) == pytest.approx(numbers.temperature)


@pytest.mark.parametrize("loss", ["outcome", "discrete-time"])
def test_other_losses_train_too(cohort, tmp_path, loss):
    settings = replace(FAST, loss=loss, head="published", arguments={}, epochs=2)
    model = train(cohort, tmp_path / "out", settings)
    config = model.folder.config
    assert config.risk.p == 3
    assert (config.risk.threshold == 0.4457) == (loss == "outcome")
    assert "| head | signed generalised mean" in (model.folder.path / "README.md").read_text(
        encoding="utf-8"
    )


def test_labels_alone_suffice_for_the_published_loss_only(cohort, tmp_path):
    table = pd.read_csv(cohort / "clinical.csv")
    labels = np.where(np.arange(40) % 2, "good", "poor")
    pd.DataFrame({"patient": table.patient, "label": labels}).to_csv(
        tmp_path / "clinical.csv", index=False
    )
    features = cohort / "features"
    settings = replace(FAST, loss="outcome", epochs=1)
    model = train(tmp_path, tmp_path / "out", settings, features=features)
    assert model.held_out.c_index is None
    card = (model.folder.path / "README.md").read_text(encoding="utf-8")
    assert "years of follow-up" not in card
    with pytest.raises(DataError, match="--loss cox needs time and event"):
        train(tmp_path, tmp_path / "out2", features=features)


def test_the_slides_of_a_project_give_the_patients(cohort, tmp_path):
    images = []
    drawn = drawn_slide(tmp_path / "any.tif", 1)
    for patient in (*(f"p{n:03d}" for n in range(20)), "p020"):
        files = sorted((cohort / "features").glob(f"{patient}-*.h5"))
        names = [f"{path.stem}.svs" for path in files] if patient != "p020" else ["p020-9.svs"]
        for name in names:
            metadata = {"Patient ID": patient}
            outline = [NewAnnotation(box(0, 0, 500, 500), "Tumor")]
            slide = shutil.copy(drawn, tmp_path / f"{name}.tif")
            images.append(
                NewImage(slide, name, 1100, 1100, 0.25, metadata=metadata, annotations=outline)
            )
    create_project(tmp_path / "project", images)
    (tmp_path / "clinical.csv").write_text((cohort / "clinical.csv").read_text())
    model = train(
        tmp_path,
        tmp_path / "out",
        replace(FAST, epochs=1),
        source=tmp_path / "project",
        features=cohort / "features",
        tiling=Tiling(engine="native"),
        share=0.3,
    )
    assert len(model.choices.outcomes) == 20
    without = [one for one in model.choices.left_out if one.reason == "no features"]
    assert {(one.what, one.name) for one in without} == {
        ("slide", "p020-9.svs"),
        ("patient", "p020"),
    }
    left_out = pd.read_csv(tmp_path / "out" / "left_out.csv")
    assert (left_out.reason == "no slide").sum() == 19


def test_a_folder_of_slides_says_which_are_used(cohort, tmp_path):
    slides = tmp_path / "slides"
    slides.mkdir()
    for path in sorted((cohort / "features").glob("*.h5"))[:35]:
        (slides / f"{path.stem}.svs").touch()
    (slides / "p039-7.svs").touch()
    table = (cohort / "clinical.csv").read_text()
    (tmp_path / "clinical.csv").write_text(table + "p03,2.5,1,50,male\n")
    model = train(
        tmp_path, tmp_path / "out", replace(FAST, epochs=1), source=slides, share=0.3,
        features=cohort / "features",
    )  # fmt: skip
    assert 20 < len(model.choices.outcomes) < 35
    reasons = {(one.name, one.reason) for one in model.choices.left_out}
    assert ("p039-7.svs", "no features") in reasons
    assert ("p039", "no features") in reasons
    assert ("p03", "no slide") in reasons  # whose name p039's begins with
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="give the folder of features as SOURCE too"):
        train(tmp_path, tmp_path / "out2", source=tmp_path / "empty", features=cohort / "features")


@pytest.mark.parametrize(
    ("attributes", "width", "message"),
    [
        ({"encoder": "other"}, 8, r"p001-0.h5: encoder other, but p000-0.h5 has tiny"),
        ({"encoder_sha256": "cd" * 32}, 8, r"p001-0.h5: encoder weights cdcdcdcdcdcd…, but p000-0"),
        ({}, 7, "number of features per tile 7, but p000-0.h5 has 8"),
        ({"mpp": 1.0}, 8, "p001-0.h5: its tiles are 256 µm wide, but those of p000-0.h5 are 128"),
        ({"stain": "vahadane"}, 8, "stain normalisation vahadane, but p000-0.h5 has none"),
        ({"slide": "p000-0.svs"}, 8, "p001-0.h5: is of slide p000-0, and so is p000-0.h5"),
    ],
)
def test_features_that_do_not_fit_together_are_refused(tmp_path, attributes, width, message):
    folder = feature_cohort(tmp_path, patients=30)
    values = np.random.default_rng(0).normal(size=(12, width))
    feature_file(folder / "features" / "p001-0.h5", values, **attributes)
    with pytest.raises(DataError, match=message) as caught:
        train(folder, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_features_that_are_not_numbers_are_refused_before_training(tmp_path):
    folder = feature_cohort(tmp_path, patients=30)
    values = np.full((12, 8), np.nan)
    feature_file(folder / "features" / "p001-0.h5", values)
    with pytest.raises(FeatureFileError, match=r"p001-0.h5: the features of 12 of 12 tiles"):
        train(folder, tmp_path / "out")


def test_files_that_say_little_are_used_with_a_note(tmp_path):
    folder = feature_cohort(tmp_path, patients=30)
    values = np.random.default_rng(0).normal(size=(12, 8))
    for path in (folder / "features").iterdir():
        feature_file(path, values[: len(values)], encoder=None, encoder_sha256=None, mpp=None)
    said = []
    with pytest.raises(KeyboardInterrupt):
        train(
            folder,
            tmp_path / "out",
            chosen=lambda choices: said.extend(choices.lines()),
            progress=lambda row: (_ for _ in ()).throw(KeyboardInterrupt),
        )
    text = "\n".join(said)
    assert "do not name their encoder" in text
    assert "40 of 40 files of features do not say how large their tiles are" in text
    assert "features of an encoder that the files do not name" in text


def test_who_is_left_out_of_a_loss_on_follow_up_is_told_why(cohort, tmp_path):
    lines = (cohort / "clinical.csv").read_text().splitlines()
    time = lines[1].split(",")[1]
    lines += [lines[1].replace(time, "0.5"), "q1,,1,60,male"]
    (tmp_path / "clinical.csv").write_text("\n".join(lines))
    model = train(tmp_path, tmp_path / "out", replace(FAST, epochs=1), features=cohort / "features")
    told = {one.name: one.reason for one in model.choices.left_out if one.what == "patient"}
    assert told == {"p000": "several rows that differ", "q1": "time or event missing"}


def test_everybody_may_have_an_event(cohort, tmp_path):
    table = pd.read_csv(cohort / "clinical.csv").assign(event=1)
    table.to_csv(tmp_path / "clinical.csv", index=False)
    model = train(
        tmp_path, tmp_path / "out", replace(FAST, epochs=1), features=cohort / "features", folds=3
    )
    assert len(model.cross_validation.patients) == 40


def test_a_cohort_that_is_too_small_is_refused_before_anything_is_copied(cohort, tmp_path):
    table = pd.read_csv(cohort / "clinical.csv")
    some = table.assign(event=[1, 1, 1] + [0] * 37, time_years=np.linspace(1, 9, 40))
    some.to_csv(tmp_path / "clinical.csv", index=False)
    features = cohort / "features"
    with pytest.raises(DataError, match="3 of 40 patients have an event; training needs at least"):
        train(tmp_path, tmp_path / "out", features=features)
    some.assign(event=[1] * 5 + [0] * 35).to_csv(tmp_path / "clinical.csv", index=False)
    with pytest.raises(DataError, match="choosing the epoch has 1 patients with an event"):
        train(tmp_path, tmp_path / "out", features=features)
    with pytest.raises(DataError, match="40 patients with 5 events are too few for 6 folds"):
        train(tmp_path, tmp_path / "out", features=features, folds=6)
    late = table.assign(event=1, time_years=np.linspace(2, 9, 40))
    late.to_csv(tmp_path / "clinical.csv", index=False)
    with pytest.raises(DataError, match="--derive-threshold and --fit-temperature need patients"):
        train(tmp_path, tmp_path / "out", features=features, rule=DecisionRule(True))
    assert list((tmp_path / "out").iterdir()) == []
    table.assign(patient=[f"q{n}" for n in range(40)]).to_csv(
        tmp_path / "clinical.csv", index=False
    )
    with pytest.raises(DataError, match=r"no patient of .*clinical.csv has features there"):
        train(tmp_path, tmp_path / "out", features=features)


@pytest.mark.parametrize(
    ("attributes", "width", "message"),
    [
        ({"encoder": "other"}, 8, "encoder other, but hcc-risk was trained with tiny"),
        ({"encoder_sha256": "cd" * 32}, 8, "encoder weights cdcdcdcdcdcd…, but hcc-risk"),
        ({}, 5, "features per tile 5, but hcc-risk was trained with 8"),
        ({"mpp": 1.0}, 8, "tiles are 256 µm wide, but hcc-risk was trained with 128 µm"),
        ({"stain": "vahadane"}, 8, "stain normalisation vahadane, but hcc-risk was trained with n"),
        (
            {"mpp": 0.25, "tile_px": 512},
            8,
            "pixels per tile 512, but hcc-risk was trained with 256",
        ),
    ],
)
def test_features_of_another_kind_than_the_models_are_refused(
    trained, tmp_path, attributes, width, message
):
    _, out, _ = trained
    values = np.random.default_rng(0).normal(size=(4, width))
    for number in range(4):
        feature_file(tmp_path / "features" / f"p{number}.h5", values, **attributes)
    (tmp_path / "clinical.csv").write_text("patient,label\np0,good\np1,poor\np2,good\np3,poor\n")
    features = tmp_path / "features"
    with pytest.raises(DataError, match=message):
        evaluate_mil(
            features, tmp_path / "clinical.csv", model=out / "model", features=features, repeats=20
        )


def test_a_head_needs_features_and_a_tile_network_none(trained, cohort, drawn_cohort):
    _, out, _ = trained
    table = drawn_cohort / "clinical.csv"
    with pytest.raises(ModelError, match="a head on features needs --features"):
        evaluate_mil(drawn_cohort / "project", table, model=out / "model")
    features = cohort / "features"
    with pytest.raises(ModelError, match="is a network for tiles, not a head"):
        evaluate_mil(features, cohort / "clinical.csv", features=features)


@pytest.mark.parametrize("redistributable", [True, False])
def test_the_encoder_is_copied_into_the_model_if_its_licence_allows(tmp_path, redistributable):
    encoder = tiny_encoder(tmp_path / "encoder", redistributable=redistributable)
    folder = feature_cohort(tmp_path, patients=30)
    settings = replace(FAST, epochs=1)
    with pytest.raises(DataError, match=r"is encoder tiny .* but the features in .* are from tiny"):
        train(folder, tmp_path / "out", settings, encoder=encoder.path)
    for path in (folder / "features").iterdir():
        values = np.random.default_rng(len(path.stem)).normal(size=(6, 8))
        feature_file(path, values, encoder_sha256=encoder.config.sha256)
    model = train(folder, tmp_path / "out", settings, encoder=encoder.path)
    copied = model.folder.path / "encoder" / "encoder.json"
    assert copied.exists() == redistributable
    if redistributable:
        assert json.loads(copied.read_text())["name"] == "tiny"


def test_one_bootstrap_sample_is_refused_before_training(cohort, tmp_path):
    paths = cohort / "features", cohort / "clinical.csv", tmp_path / "out", cohort / "features"
    with pytest.raises(DataError, match=r"bootstrap samples must be 0 .*, or 2 or more, not 1"):
        train_head(*paths, settings=FAST, repeats=1)
    assert not (tmp_path / "out").exists()
