"""The export for QuPath's WSInfer extension gives this program's tile risk."""

import json
import subprocess
import sys

import jsonschema
import numpy as np
import pytest
import torch

from qupath_hccmil.cli.main import run
from qupath_hccmil.errors import ModelError
from qupath_hccmil.mil.tile_network import load_tile_network
from qupath_hccmil.model_store.model_folder import default_model_dir, load_model_folder
from qupath_hccmil.nuclei.architectures import load_nuclei_network
from qupath_hccmil.scoring.fused_networks import ScoringNetwork
from qupath_hccmil.scoring.scorer import ScorerSource
from qupath_hccmil.scoring.wsinfer_export import CLASS_NAMES, export_wsinfer
from tests.blobs import blob_image

# What WSInfer asks of a config: its fields, their types, and the transforms that it knows.
RULES = {
    "type": "object",
    "required": ["spec_version", "architecture", "num_classes", "patch_size_pixels",
                 "spacing_um_px", "class_names", "transform"],
    "properties": {
        "spec_version": {"const": "1.0"},
        "architecture": {"type": "string"},
        "num_classes": {"type": "integer", "minimum": 1},
        "patch_size_pixels": {"type": "integer", "minimum": 1},
        "spacing_um_px": {"type": "number", "exclusiveMinimum": 0},
        "class_names": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "transform": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "additionalProperties": False,
                "properties": {
                    "name": {"enum": ["Resize", "ToTensor", "Normalize"]},
                    "arguments": {"type": "object"},
                },
            },
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return export_wsinfer(ScorerSource(), tmp_path_factory.mktemp("wsinfer") / "hcc-risk")


def tiles():
    """Two drawn tiles and one of noise: (3, 224, 224, 3) uint8."""
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    return np.stack([blob_image(1, 224, 40)[0], blob_image(2, 224, 10)[0], noise])


def test_config_follows_wsinfers_rules(exported):
    config = json.loads((exported.folder / "config.json").read_text())
    jsonschema.validate(config, RULES)
    assert len(config["class_names"]) == config["num_classes"] == 2
    assert config["patch_size_pixels"] * config["spacing_um_px"] == 128
    assert config["transform"][0] == {"name": "Resize", "arguments": {"size": 224}}
    # A colon would make a derived class in QuPath; ours would be cleared as our own results.
    assert not any(":" in name or name.startswith("HCC-MIL") for name in CLASS_NAMES)


def test_gives_this_programs_tile_risk_in_a_fresh_process(exported, tmp_path):
    """As the extension does: RGB to [0, 1], softmax, the second class; without this package."""
    np.save(tmp_path / "tiles.npy", tiles())
    code = (
        "import sys, numpy, torch; folder, data = sys.argv[1:];"
        "network = torch.jit.load(folder + '/torchscript_model.pt');"
        "x = torch.from_numpy(numpy.load(data)).permute(0, 3, 1, 2).float() / 255;"
        "torch.set_grad_enabled(False);"
        "assert 'qupath_hccmil' not in sys.modules;"
        "print(*torch.softmax(network(x), 1)[:, 1].tolist(),"
        "*torch.softmax(network(x[:1]), 1)[:, 1].tolist())"
    )
    arguments = [str(exported.folder), str(tmp_path / "tiles.npy")]
    command = [sys.executable, "-I", "-W", "ignore", "-c", code, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    *risks, alone = map(float, ran.stdout.split())
    nuclei, mil = (load_model_folder(default_model_dir(kind), kind) for kind in ("nuclei", "mil"))
    network = ScoringNetwork(load_nuclei_network(nuclei), load_tile_network(mil)).eval()
    with torch.inference_mode():
        logits, _ = network(torch.from_numpy(tiles()))
    assert risks == pytest.approx(torch.sigmoid(logits).tolist(), abs=1e-5)
    assert alone == pytest.approx(risks[0], abs=1e-5)


def test_command_and_card_say_what_it_loses(tmp_path, capsys, exported):
    assert run(["export-model", str(tmp_path / "m")]) == 0
    said = capsys.readouterr().out
    card = (tmp_path / "m" / "README.md").read_text()
    for loss in ("Stain normalisation", "The slide's score", "The threshold", "Provenance"):
        assert f"- {loss}" in said
        assert f"- {loss}" in card
    assert "esearch use only" in card
    # A second export replaces the first.
    assert run(["export-model", str(tmp_path / "m"), "--quiet"]) == 0


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ModelError, match="contains other files"):
        export_wsinfer(ScorerSource(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
