"""What ships must load, fit together, and stay small."""

from qupath_hccmil.method.published_numbers import POWER, THRESHOLD
from qupath_hccmil.mil.tile_network import load_tile_network
from qupath_hccmil.model_store.model_folder import default_model_dir, load_model_folder
from qupath_hccmil.nuclei.architectures import load_nuclei_network
from qupath_hccmil.stain.vahadane import StainFit


def test_networks_load():
    load_nuclei_network(load_model_folder(default_model_dir("nuclei"), "nuclei"))
    load_tile_network(load_model_folder(default_model_dir("mil"), "mil"))


def test_risk_model_names_the_nuclei_model_that_ships():
    nuclei = load_model_folder(default_model_dir("nuclei"), "nuclei")
    risk = load_model_folder(default_model_dir("mil"), "mil").config.risk
    assert risk.nuclei_model == nuclei.reference


def test_risk_model_has_the_published_numbers_and_says_that_it_is_a_surrogate():
    folder = load_model_folder(default_model_dir("mil"), "mil")
    assert (folder.config.risk.p, folder.config.risk.threshold) == (POWER, THRESHOLD)
    assert folder.config.risk.surrogate
    card = (folder.path / "README.md").read_text(encoding="utf-8")
    assert "simulated outcomes" in card
    assert "research use only" in card


def test_both_models_share_stain_reference_and_geometry():
    nuclei, mil = (load_model_folder(default_model_dir(k), k).config for k in ("nuclei", "mil"))
    assert nuclei.geometry == mil.geometry
    assert nuclei.stain_reference == mil.stain_reference
    StainFit.from_dict(mil.stain_reference)


def test_together_at_most_25_mb():
    folders = [default_model_dir(kind) for kind in ("nuclei", "mil")]
    size = sum(path.stat().st_size for folder in folders for path in folder.iterdir())
    assert size <= 25e6
