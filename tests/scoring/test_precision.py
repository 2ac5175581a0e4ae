"""The nuclei network in bf16: scores of a real slide hardly move, and what ran is known."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from shapely.geometry import box
from torch import nn

from qupath_hccmil.errors import ModelError
from qupath_hccmil.scoring import devices, openvino_runtime, precision
from qupath_hccmil.scoring.judge import TileNetworks
from qupath_hccmil.scoring.openvino_import import import_openvino
from qupath_hccmil.scoring.precision import choose_precision
from qupath_hccmil.scoring.score_slide import score_slide
from qupath_hccmil.scoring.scorer import ScorerSource
from qupath_hccmil.scoring.torch_runtime import LARGEST_BATCH, TorchRuntime, batch_for
from qupath_hccmil.slides.open_slide import open_slide
from qupath_hccmil.tiles.tile_plan import TileChoice, TumourOutline, plan_tiles
from tests.blobs import blob_image

HAS_BF16 = "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
needs_bf16 = pytest.mark.skipif(not HAS_BF16, reason="this processor has no bf16 instructions")
MOST_TILES = 24


@pytest.fixture(scope="module")
def scored(data_dir):
    """Scores the real slide's tissue."""

    def score(scorer):
        with open_slide(data_dir / "slides" / "CMU-1-Small-Region.svs") as slide:
            outline = TumourOutline(0, "all", box(0, 0, slide.width, slide.height))
            choice = TileChoice(max_tiles=MOST_TILES)
            plan = plan_tiles(slide, [outline], choice, scorer.geometry, name="slide")
            return score_slide(slide, plan, scorer)

    return score


@pytest.fixture(scope="module")
def in_f32(scored):
    return scored(ScorerSource(precision="f32", device="cpu").scorer())


def assert_hardly_moved(found, exact):
    assert abs(found.risk - exact.risk) <= 0.005
    assert len(found.tiles) == len(exact.tiles)
    assert np.abs(found.tiles.risk - exact.tiles.risk).max() <= 0.02
    # but they are others: what was asked for did run
    assert not np.array_equal(found.tiles.logit, exact.tiles.logit)


@needs_bf16
def test_bf16_hardly_moves_the_scores_of_a_real_slide(scored, in_f32):
    scorer = ScorerSource(precision="bf16", device="cpu").scorer()
    assert scorer.facts["nuclei_precision"] == "bf16"
    assert scorer.facts["tile_precision"] == "f32"
    assert_hardly_moved(scored(scorer), in_f32)


def test_bf16_as_it_is_emulated_hardly_moves_them_either(scored, in_f32):
    """On any processor: weights and inputs of each convolution, and its output, rounded to bf16.

    The sums are those of float32, as they are in a processor's bf16 instructions. What is not
    emulated: interpolation and activations between two convolutions in bf16, and their fusion.
    """
    source = ScorerSource(precision="f32", device="cpu")
    risk, nuclei = source.folders
    network = openvino_runtime.Networks(risk, nuclei).build()
    for module in network.unet.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            with torch.no_grad():
                module.weight.copy_(rounded(module.weight))
            module.register_forward_pre_hook(lambda _, inputs: (rounded(inputs[0]),))
            module.register_forward_hook(lambda _, inputs, output: rounded(output))
    runtime = TorchRuntime(network, 224, "cpu", "f32")
    scorer = source.scorer()
    emulated = replace(scorer, judge=TileNetworks(runtime, scorer.p))
    assert_hardly_moved(scored(emulated), in_f32)


def rounded(tensor):
    return tensor.to(torch.bfloat16).to(torch.float32)


def test_torch_runs_the_nuclei_network_alone_in_bf16():
    """As on a GPU; here on the CPU, which computes bf16 too, if slowly."""
    risk, nuclei = ScorerSource().folders
    tiles = np.stack([blob_image(seed, 224, 60)[0] for seed in range(2)])
    dtypes = set()
    found = {}
    for name in ("f32", "bf16"):
        network = openvino_runtime.Networks(risk, nuclei).build()
        for module in network.tile_network.modules():
            module.register_forward_hook(lambda _, inputs, output: dtypes.add(output.dtype))
        runtime = TorchRuntime(network, 224, "cpu", name)
        runtime.submit(tiles, lambda outputs, name=name: found.setdefault(name, outputs))
    assert dtypes == {torch.float32}
    assert not np.array_equal(found["f32"].logits, found["bf16"].logits)
    np.testing.assert_allclose(found["bf16"].logits, found["f32"].logits, atol=0.1)
    np.testing.assert_allclose(
        found["bf16"].nuclei_fraction, found["f32"].nuclei_fraction, atol=0.01
    )


@needs_bf16
def test_an_openvino_that_forgets_the_marks_is_refused(monkeypatch):
    monkeypatch.setattr(openvino_runtime, "with_tile_network_in_f32", lambda files: files)
    with pytest.raises(ModelError, match=r"does not run the tile network in f32 .*--precision f32"):
        ScorerSource(precision="bf16", device="cpu", threads=1).scorer()


class TestChoice:
    @pytest.fixture
    def processor(self, monkeypatch):
        """Make this one with these capabilities; no other processor can be had here."""

        def with_capabilities(*names):
            core = SimpleNamespace(get_property=lambda device, name: list(names))
            openvino = SimpleNamespace(Core=lambda: core)
            monkeypatch.setattr(precision, "import_openvino", lambda: openvino)

        return with_capabilities

    def test_auto_takes_bf16_where_the_processor_has_it(self, processor):
        processor("FP32", "BF16")
        chosen = choose_precision("auto", "openvino", "cpu")
        assert (chosen.nuclei, chosen.why) == ("bf16", "this processor has instructions for bf16")
        assert choose_precision("bf16", "openvino", "cpu").nuclei == "bf16"
        assert choose_precision("f32", "openvino", "cpu").nuclei == "f32"

    def test_elsewhere_it_takes_f32_and_bf16_is_refused(self, processor):
        processor("FP32", "INT8")
        chosen = choose_precision("auto", "openvino", "cpu")
        assert (chosen.nuclei, chosen.why) == ("f32", "this processor has no instructions for bf16")
        with pytest.raises(ModelError, match=r"--precision bf16: this processor has no .* f32"):
            choose_precision("bf16", "openvino", "cpu")

    def test_torch_on_a_cpu_computes_in_f32(self):
        assert choose_precision("auto", "torch", "cpu").nuclei == "f32"
        with pytest.raises(ModelError, match="torch computes in f32 on cpu"):
            choose_precision("bf16", "torch", "cpu")

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
    def test_a_gpu_takes_what_it_has_instructions_for(self):
        able = torch.cuda.is_bf16_supported(including_emulation=False)
        assert choose_precision("auto", "torch", "cuda").nuclei == ("bf16" if able else "f32")


class TestDevices:
    def test_the_same_gpus_are_found_as_torch_finds(self):
        found = set(devices.gpus())
        assert ("cuda" in found) == torch.cuda.is_available()
        assert ("mps" in found) == torch.backends.mps.is_available()

    def test_auto_is_openvino_without_a_gpu(self, monkeypatch):
        monkeypatch.setattr(devices, "gpus", lambda: ())
        assert devices.resolve("auto", "auto") == ("openvino", "cpu")
        assert devices.resolve("torch", "auto") == ("torch", "cpu")
        with pytest.raises(ModelError, match="device cuda is not available here"):
            devices.resolve("auto", "cuda")

    def test_a_gpu_is_torchs(self, monkeypatch):
        monkeypatch.setattr(devices, "gpus", lambda: ("cuda",))
        assert devices.resolve("auto", "auto") == ("torch", "cuda")
        assert devices.resolve("openvino", "auto") == ("openvino", "cpu")
        with pytest.raises(ModelError, match="runtime openvino runs on the CPU only, not on cuda"):
            devices.resolve("openvino", "cuda")


@pytest.mark.parametrize(
    ("tiles", "batch"), [(0.3, 8), (15.9, 8), (16, 16), (100, 64), (1e6, LARGEST_BATCH)]
)
def test_a_batch_is_a_power_of_two_that_fits(tiles, batch):
    assert batch_for(tiles) == batch
