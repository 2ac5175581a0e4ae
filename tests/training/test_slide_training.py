"""Training and evaluation from a QuPath project and from a folder of slides, end to end."""

import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import Point, box, mapping

from qupath_hccmil.cli.main import run
from qupath_hccmil.errors import AnnotationError, DataError
from qupath_hccmil.mil.bags import StoredBag
from qupath_hccmil.mil.risk_training import MilSettings
from qupath_hccmil.mil.threshold_and_temperature import DecisionRule
from qupath_hccmil.model_store.model_folder import load_model_folder, save_model_folder
from qupath_hccmil.scoring.scorer import ScorerSource
from qupath_hccmil.slide_sources.outlined_slides import read_outlines
from qupath_hccmil.tables.score_table import read_scores
from qupath_hccmil.training.clinical_table import ClinicalColumns
from qupath_hccmil.training.evaluate_mil import evaluate_mil, write_evaluation
from qupath_hccmil.training.prepare_bags import Tiling
from qupath_hccmil.training.train_mil import train_mil
from tests.conftest import ROOT, qupath_dirs
from tests.logit_noise import program
from tests.networks import drawn_bags, wired_network
from tests.training.conftest import SIDE, drawn_slide

NATIVE = Tiling(per_patient=3, engine="native")
SETTINGS = MilSettings(epochs=2, tiles=2)


@pytest.fixture(scope="module")
def trained(drawn_cohort, models, tmp_path_factory):
    """A model trained from the project in one go."""
    out = tmp_path_factory.mktemp("out")
    told = []
    model = train_mil(
        drawn_cohort / "project",
        drawn_cohort / "clinical.csv",
        out,
        tiling=NATIVE,
        start=models.start,
        nuclei=models.nuclei,
        share=0.4,
        settings=SETTINGS,
        chosen=told.append,
    )
    assert told == [model.choices]
    return out, model


def test_says_who_is_trained_on_and_who_is_not_and_why(trained):
    _, model = trained
    assert model.choices.lines()[1:] == [
        "Table: 4 good, 4 poor, 2 excluded (1 followed for less than 4 years; "
        "1 recurrence at 1.6 years or later)",
        "Left out: 3 patients: no slide",
        "Left out: 1 slide: no patient in the table",
        "Left out: 1 slide: no tumour outline",
        "Left out: 1 slide: not found",
        "Trained on, from QuPath project: 3 good, 2 poor",
    ]
    rows = (trained[0] / "left_out.csv").read_text("utf-8-sig").splitlines()
    assert rows[:2] == [
        "what,name,reason,detail",
        "patient,p8,followed for less than 4 years,",
    ]
    assert len(rows) == 1 + 2 + 6
    details = [str(one) for one in model.choices.left_out]
    assert any(
        d.startswith("slide p5-7.tif: no tumour outline (has no annotations;") for d in details
    )


def test_the_model_scores_with_its_nuclei_model_beside_it(trained, models):
    out, model = trained
    risk, nuclei = ScorerSource(out / "model").folders
    assert risk.config == model.folder.config
    assert nuclei.path == out / "nuclei"
    assert model.folder.config.training["start"] == "start"
    assert "started from start" in (out / "model" / "README.md").read_text()


def test_tiles_are_random_bounded_and_of_all_slides_of_a_patient(trained):
    out, _ = trained
    bags = {path.stem: StoredBag(path) for path in (out / "bags").glob("*.npy")}
    assert bags.keys() == {"p0", "p1", "p2", "p3", "p4"}
    assert {len(bag) for bag in bags.values()} == {3}
    record = json.loads((out / "bags" / "p0.npy.json").read_text())
    assert [slide["name"] for slide in record] == ["p0-0.tif", "p0-5.tif"]
    made = json.loads((out / "bags" / "bags.json").read_text())
    assert made["tiles_per_patient"] == 3
    assert made["stain_reference"]["matrix"]


def test_tiles_are_those_that_scoring_sees(trained, drawn_cohort, models):
    """RGB and heat map of a bag give the logit that the fused scoring network gives."""
    import torch

    from qupath_hccmil.mil.tile_network import load_tile_network
    from qupath_hccmil.nuclei.architectures import load_nuclei_network
    from qupath_hccmil.scoring.fused_networks import ScoringNetwork

    out, model = trained
    tiles = StoredBag(out / "bags" / "p1.npy").read(np.arange(3))
    network = load_tile_network(model.folder)
    unet = load_nuclei_network(load_model_folder(models.nuclei, "nuclei"))
    rgb = torch.from_numpy(np.ascontiguousarray(tiles[:, :3].transpose(0, 2, 3, 1)))
    with torch.inference_mode():
        fused, _ = ScoringNetwork(unet, network)(rgb)
        stored = network(torch.from_numpy(tiles).float() / 255)
    # The heat map of a bag is rounded to 1/255.
    torch.testing.assert_close(stored, fused, atol=2e-3, rtol=2e-2)


def test_prepared_tiles_are_reused_and_an_edited_outline_is_noticed(
    trained, drawn_cohort, models, tmp_path
):
    out, _ = trained
    before = {path: path.stat().st_mtime_ns for path in (out / "bags").iterdir()}
    arguments = {"start": models.start, "nuclei": models.nuclei, "share": 0.4}
    source, table = drawn_cohort / "project", drawn_cohort / "clinical.csv"
    train_mil(source, table, out, tiling=NATIVE, settings=SETTINGS, **arguments)
    assert before == {path: path.stat().st_mtime_ns for path in (out / "bags").iterdir()}
    other = Tiling(per_patient=4, engine="native", seed=1)
    with pytest.raises(DataError, match="made with another seed, tiles_per_patient"):
        train_mil(source, table, out, tiling=other, settings=SETTINGS, **arguments)
    record = out / "bags" / "p3.npy.json"
    content = json.loads(record.read_text())
    content[0]["outlines"] = "another"
    record.write_text(json.dumps(content))
    train_mil(source, table, out, tiling=NATIVE, settings=SETTINGS, **arguments)
    changed = {p.name for p in before if p.stat().st_mtime_ns != before[p]}
    assert changed == {"p3.npy", "p3.npy.json"}
    # A damaged bag is made anew where its slides are at hand.
    bag = out / "bags" / "p4.npy"
    whole = bag.read_bytes()
    bag.write_bytes(whole[:-1])
    train_mil(source, table, out, tiling=NATIVE, settings=SETTINGS, **arguments)
    assert bag.read_bytes() == whole


def test_a_damaged_bag_is_one_clear_line(trained, models, drawn_cohort, tmp_path):
    out, _ = trained
    folder = tmp_path / "bags"
    folder.mkdir()
    for path in (out / "bags").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    whole = (folder / "p2.npy").read_bytes()
    (folder / "p2.npy").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"p2\.npy: not a bag of tiles, or damaged") as caught:
        evaluate_mil(
            folder, drawn_cohort / "clinical.csv", model=out / "model", nuclei=models.nuclei
        )
    assert "\n" not in str(caught.value)


def _command(cohort, models, out):
    options = ["--engine", "native", "--tiles-per-patient", "3", "--held-out", "0.4"]
    options += ["--tiles", "2", "--epochs", "2", "--device", "cpu"]
    options += ["--start", models.start, "--nuclei", models.nuclei, "--out", out]
    line = [*program(), "train", "mil", cohort / "project"]
    return [str(part) for part in (*line, cohort / "clinical.csv", *options)]


def _killed_at(command: list[str], words: str) -> None:
    """Run a command until it says something, and kill it then and there."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_environment()
    )
    said = []
    for line in process.stdout:
        said.append(line)
        if words in line:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.stdout.close()
    assert process.wait(60) == -signal.SIGKILL, "".join(said)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_training_goes_on_and_ends_with_the_same_weights(
    trained, drawn_cohort, models, tmp_path
):
    whole, _ = trained
    out = tmp_path / "out"
    command = _command(drawn_cohort, models, out)
    _killed_at(command, "tiles of patient p1 ready (2 of 5)")
    first = {path.name: path.stat().st_mtime_ns for path in (out / "bags").glob("p[01].npy")}
    assert first.keys() == {"p0.npy", "p1.npy"}
    _killed_at(command, "epoch 1:")
    ran = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
    assert ran.returncode == 0, ran.stderr
    assert "epoch 1:" not in ran.stdout
    assert "epoch 2:" in ran.stdout
    assert "Left out: 3 patients: no slide" in ran.stdout
    for name, modified in first.items():
        assert (out / "bags" / name).stat().st_mtime_ns == modified
    weights = "model/weights.safetensors"
    assert (out / weights).read_bytes() == (whole / weights).read_bytes()


@pytest.mark.qupath
def test_both_engines_prepare_the_same_tiles(trained, drawn_cohort, models, tmp_path):
    if not qupath_dirs():
        pytest.skip("no QuPath: set PAQUO_QUPATH_DIR or install it as /opt/QuPath-*")
    whole, _ = trained
    command = _command(drawn_cohort, models, tmp_path / "out")
    command[command.index("native")] = "paquo"
    environment = {**_environment(), "PAQUO_QUPATH_DIR": str(qupath_dirs()[0])}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    for path in (whole / "bags").glob("*.npy"):
        assert (tmp_path / "out" / "bags" / path.name).read_bytes() == path.read_bytes()


@pytest.fixture
def slide_folder(tmp_path: Path) -> Path:
    """Slides without a project: by the table's column, by name, with outlines beside one."""
    folder = tmp_path / "slides"
    folder.mkdir()
    for number, name in enumerate(("TCGA-1-01Z.tif", "TCGA-10.tif", "b_2.tif", "broken.tif")):
        drawn_slide(folder / name, number)
    (folder / "broken.tif").write_bytes(b"II*\0 no slide")
    feature = {
        "type": "Feature",
        "id": "1",
        "geometry": mapping(box(0, 0, SIDE, 550)),
        "properties": {"objectType": "annotation", "classification": {"name": "Tumour"}},
    }
    text = json.dumps({"type": "FeatureCollection", "features": [feature]})
    (folder / "TCGA-10.geojson").write_text(text)
    return folder


def test_slides_of_a_folder_are_tiled_by_tissue_or_by_the_outlines_beside_them(
    slide_folder, models, tmp_path
):
    table = tmp_path / "labels.csv"
    table.write_text(
        "patient,label,time_years,event\nTCGA-1,good,6,0\nTCGA-10,poor,1,1\nb,good,5,0\n"
        "broken,poor,1,1\nabsent,poor,1,1\n"
    )
    out = tmp_path / "bags"
    found = evaluate_mil(
        slide_folder,
        table,
        model=models.start,
        nuclei=models.nuclei,
        tiling=Tiling(per_patient=10),
        keep=out,
        repeats=50,
    )
    tiles = {score.patient: score.tiles for score in found.patients}
    # Two rows of two tiles; the outline holds the upper one.
    assert tiles == {"TCGA-1": 4, "TCGA-10": 2, "b": 4}
    notes = "\n".join(found.notes)
    assert "slide broken.tif: unreadable" in notes
    assert "patient absent: no slide" in notes
    assert "patient broken: no tiles (none of its slides can be used)" in notes
    assert found.followed == 3
    assert found.scores.auc.undefined > 0
    content = found.as_dict()
    assert content["auc"]["undefined"] == found.scores.auc.undefined
    write_evaluation(tmp_path / "evaluation", found)
    names = {path.name for path in (tmp_path / "evaluation").iterdir()}
    assert names == {"scores.csv", "calibration.csv", "calibration.png", "evaluation.json"}


def test_a_slide_that_failed_is_named_again_when_its_patients_tiles_are_ready(
    slide_folder, models, tmp_path
):
    table = tmp_path / "labels.csv"
    table.write_text("patient,slides,label\nx,b_2;broken.tif,good\ny,TCGA-1-01Z,poor\n")

    def notes():
        return evaluate_mil(
            slide_folder,
            table,
            model=models.start,
            nuclei=models.nuclei,
            tiling=Tiling(per_patient=3),
            keep=tmp_path / "bags",
            repeats=0,
        ).notes

    first = notes()
    assert sum("slide broken.tif: unreadable" in note for note in first) == 1
    assert notes() == first
    # Repaired, it makes other tiles, and nothing is left to be said.
    drawn_slide(slide_folder / "broken.tif", 9)
    assert not [note for note in notes() if "broken" in note]
    assert not list((tmp_path / "bags").glob("*.left_out.json"))


def test_the_tables_column_of_slides_goes_first(slide_folder, models, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text(
        "patient,slides,label\nx,b_2;TCGA-10.tif,good\ny,TCGA-1-01Z,poor\nTCGA-10,,good\n"
    )
    found = evaluate_mil(
        slide_folder,
        table,
        model=models.start,
        nuclei=models.nuclei,
        tiling=Tiling(per_patient=3),
        repeats=0,
    )
    assert {score.patient: score.tiles for score in found.patients} == {"x": 3, "y": 3}
    assert "slide broken.tif: no patient in the table" in found.notes
    table.write_text("patient,slides,label\nx,b_2,good\ny,b_2,poor\n")
    with pytest.raises(DataError, match="slide 'b_2' belongs to two patients, 'x' and 'y'"):
        evaluate_mil(slide_folder, table, model=models.start, nuclei=models.nuclei)


def test_outlines_of_a_geojson(tmp_path):
    def feature(name, geometry="Polygon"):
        shape = mapping(box(0, 0, 9, 9)) if geometry == "Polygon" else mapping(Point(1, 1))
        given = {} if name is None else {"classification": {"name": name}}
        return {"type": "Feature", "geometry": shape, "properties": given}

    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([feature("Tumor"), feature("Stroma"), feature("x", "Point")]))
    assert [a.class_name for a in read_outlines(path, ["tumor"])] == ["Tumor"]
    with pytest.raises(AnnotationError, match="no polygon of class Necrosis"):
        read_outlines(path, ["Necrosis"])
    path.write_text(json.dumps({"features": [feature(None), feature(None)]}))
    assert len(read_outlines(path, ["Tumor"])) == 2
    deeper = feature("Tumor")
    deeper["geometry"] = {**deeper["geometry"], "plane": {"c": -1, "z": 1, "t": 0}}
    cell = feature("Tumor")
    cell["properties"]["objectType"] = "cell"
    path.write_text(json.dumps([deeper, cell]))
    with pytest.raises(AnnotationError, match="its classes: none"):
        read_outlines(path, ["Tumor"])
    for broken in ("{", "[1]", '{"features": [{"geometry": {"type": "Polygon"}}]}'):
        path.write_text(broken)
        with pytest.raises(
            AnnotationError, match=r"a\.geojson: is not GeoJSON as QuPath exports it"
        ):
            read_outlines(path, ["Tumor"])


@pytest.fixture
def separate(tmp_path):
    """Bags of eight patients whose outcomes the starting network tells apart, and their table."""
    folder = tmp_path / "many"
    folder.mkdir()
    bags, labels = drawn_bags(8, tiles=2)
    for bag in bags:
        np.save(folder / f"{bag.patient}.npy", bag.tiles)
    rows = [f"{name},{6 if good else 1},{1 - good}" for name, good in labels.items()]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["patient,time_years,event", *rows]))
    return folder, table


def _in_folds(separate, models, out, start, **settings):
    return train_mil(
        *separate,
        out,
        start=start,
        nuclei=models.nuclei,
        share=0.4,
        folds=2,
        rule=DecisionRule(derive_threshold=True, fit_temperature=True),
        settings=MilSettings(epochs=1, tiles=1, **settings),
        columns=ClinicalColumns(unit="years"),
    )


def test_folds_threshold_and_temperature_are_stored_with_the_model(separate, models, tmp_path):
    model = _in_folds(separate, models, tmp_path / "out", models.start)
    risk = load_model_folder(tmp_path / "out" / "model", "mil").config.risk
    # Good outcomes have logits of about -0.6, poor ones of 0.6.
    assert 0.4457 < risk.threshold < 0.6
    assert risk.temperature < 0.5
    assert model.notes == []
    assert model.cross_validation.pooled.good == 4
    assert model.cross_validation.pooled.auc.value == 1
    # As the survival analysis reads them: each patient once, in the folds of two models.
    scores = read_scores(tmp_path / "out" / "predictions.csv")
    assert len(scores.scores) == 8
    assert scores.out_of_fold.thresholds.keys() == {"1", "2"}
    metrics = model.folder.config.metrics["cross_validation"]
    assert len(metrics["folds"]) == 2
    card = (model.folder.path / "README.md").read_text()
    assert "out of fold, 2 folds" in card
    assert "by Youden's J" in card
    # The temperature is in the network: what the folder scores is what was held out.
    found = evaluate_mil(
        *separate, model=model.folder.path, nuclei=models.nuclei, repeats=0,
        columns=ClinicalColumns(unit="years"),
    )  # fmt: skip
    again = {score.patient: score.risk for score in found.patients}
    for score in model.held_out.bags:
        assert again[score.patient] == pytest.approx(score.risk, abs=1e-4)


def test_a_training_that_ends_in_equal_scores_is_kept_and_says_so(
    separate, models, tmp_path, capsys
):
    network, start = wired_network(), load_model_folder(models.start, "mil").config
    blind = save_model_folder(tmp_path / "blind", start, network.state_dict(), "")
    out = tmp_path / "out"
    # The output layer is 0, and so small a step leaves it there.
    model = _in_folds(separate, models, out, blind.path, learning_rate=1e-12)
    kept = load_model_folder(out / "model", "mil").config
    assert (kept.risk.threshold, kept.risk.temperature) == (0.4457, 1.0)
    assert kept.training["derived"] == {"derive_threshold": False, "fit_temperature": False}
    assert kept.training["notes"] == model.notes
    *folds, own, derived = model.notes
    assert len(folds) == 2
    named = ", ".join(score.patient for score in model.held_out.bags)
    assert own == (
        "the model's network has collapsed: the 4 patients that chose its epoch all have the same "
        f"score (slide logit 0.0000: {named}), so it cannot distinguish patients; "
        "train with more patients or tiles, with a lower --learning-rate, or from another --start"
    )
    assert derived == (
        "no threshold and no temperature can be derived from equal scores (the patients out of "
        "fold); threshold 0.4457 and temperature 1 stay"
    )
    card = (out / "model" / "README.md").read_text()
    assert f"Note: {own}." in card
    assert "by Youden's J" not in card
    # The same line again, which has nothing to train, says it too.
    line = ["train", "mil", *separate, "--out", out, "--start", blind.path]
    line += ["--nuclei", models.nuclei, "--held-out", 0.4, "--folds", 2, "--derive-threshold"]
    line += ["--fit-temperature", "--epochs", 1, "--tiles", 1, "--learning-rate", 1e-12]
    assert run([str(part) for part in [*line, "--time-unit", "years", "--device", "cpu"]]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [words for words in said if words.startswith("note: ")] == [
        f"note: {note}" for note in model.notes
    ]
