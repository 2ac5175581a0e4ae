import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from qupath_hccmil.errors import ModelError
from qupath_hccmil.heads.head import make_head
from qupath_hccmil.method.aggregation import contributions, slide_logit
from qupath_hccmil.model_store.model_config import HEAD_NAMES

WIDTH = 6
EPS = torch.finfo(torch.float32).eps
# Bags of one tile, of a few, of many, on any scale.
BAGS = st.tuples(st.integers(1, 60), st.integers(0, 2**16), st.sampled_from([0.0, 1e-3, 1.0, 30.0]))
HEADS = pytest.mark.parametrize("name", HEAD_NAMES)


def head_of(name, seed=0, **arguments):
    torch.manual_seed(seed)
    return make_head(name, WIDTH, **arguments).eval()


def features_of(bag):
    tiles, seed, scale = bag
    return scale * torch.from_numpy(
        np.random.default_rng(seed).normal(size=(tiles, WIDTH)).astype(np.float32)
    )


@HEADS
@settings(deadline=None, max_examples=50)
@given(bag=BAGS, temperature=st.sampled_from([1.0, 0.3, 7.0]))
def test_contributions_sum_to_the_logit(name, bag, temperature):
    head = head_of(name, bag[1])
    head.temperature.fill_(temperature)
    with torch.no_grad():
        found = head(features_of(bag))
    assert found.contributions.shape == found.tile_logits.shape == (bag[0],)
    assert torch.isfinite(found.contributions).all()
    # Summed in float64; what is left is the rounding of each contribution, and of a float32 sum,
    # which is at most n steps of the sum of their sizes.
    shares = found.contributions.double()
    tolerance = EPS * (bag[0] + 4) * float(shares.abs().sum())
    assert abs(float(shares.sum()) - float(found.logit)) <= tolerance


@HEADS
@settings(deadline=None, max_examples=50)
@given(bag=BAGS)
def test_the_order_of_tiles_has_no_effect(name, bag):
    head, features = head_of(name), features_of(bag)
    order = torch.from_numpy(np.random.default_rng(1).permutation(bag[0]))
    with torch.no_grad():
        found, other = head(features), head(features[order])
    largest = float(found.tile_logits.abs().max())
    close = {"rtol": 1e-4, "atol": 1e-4 * largest}
    if name == "published":
        # Where tiles cancel, the root magnifies rounding; its cube does not.
        cubes = {"rtol": 1e-4, "atol": 1e-4 * largest**3}
        torch.testing.assert_close(other.logit**3, found.logit**3, **cubes)
        torch.testing.assert_close(other.tile_logits, found.tile_logits[order], **close)
        return
    torch.testing.assert_close(other.logit, found.logit, **close)
    torch.testing.assert_close(other.contributions, found.contributions[order], **close)
    torch.testing.assert_close(other.tile_logits, found.tile_logits[order], **close)


@HEADS
@pytest.mark.parametrize(
    "features",
    [
        torch.ones(1, WIDTH),
        torch.ones(9, WIDTH),
        torch.zeros(4, WIDTH),
        torch.cat([torch.ones(3, WIDTH), -torch.ones(3, WIDTH)]),
        1e4 * torch.ones(5, WIDTH),
    ],
    ids=["one tile", "equal tiles", "zeros", "opposite tiles", "large"],
)
def test_gradients_are_finite(name, features):
    head = head_of(name)
    if name == "published":
        torch.nn.init.zeros_(head.tile.bias)  # so that opposite tiles have m = 0
    features = features.clone().requires_grad_()
    found = head(features)
    found.logit.backward()
    gradients = [features.grad, *(p.grad for p in head.parameters() if p.grad is not None)]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any((gradient != 0).any() for gradient in gradients)


def test_the_published_head_is_the_published_mean():
    head = head_of("published", p=3.0)
    features = features_of((40, 3, 1.0))
    with torch.no_grad():
        found = head(features)
    s = head.tile(features)[:, 0].detach().double().numpy()
    assert float(found.logit) == pytest.approx(slide_logit(s), rel=1e-5)
    shares = contributions(s)
    expected = shares * slide_logit(s) / shares.sum()
    np.testing.assert_allclose(found.contributions, expected, rtol=1e-3)


def test_the_published_head_with_tiles_that_cancel_has_no_contributions():
    head = head_of("published")
    torch.nn.init.zeros_(head.tile.bias)
    features = torch.cat([torch.ones(2, WIDTH), -torch.ones(2, WIDTH)])
    with torch.no_grad():
        found = head(features)
    assert float(found.logit) == 0
    assert found.contributions.tolist() == [0] * 4
    assert (found.tile_logits != 0).all()


@pytest.mark.parametrize("name", ["mean", "abmil", "additive", "transformer"])
def test_more_of_the_same_tiles_change_nothing(name):
    head, features = head_of(name), features_of((7, 0, 1.0))
    with torch.no_grad():
        once, thrice = head(features), head(features.repeat(3, 1))
    torch.testing.assert_close(thrice.logit, once.logit, rtol=1e-4, atol=1e-5)


@HEADS
def test_features_of_any_scale_give_the_same_after_standardising(name):
    features = features_of((30, 2, 1.0))
    found = []
    for scale, shift in ((1.0, 0.0), (50.0, -7.0)):
        head, scaled = head_of(name), features * scale + shift
        scaled[:, 0] = 3.0  # a constant feature says nothing
        head.standardise(scaled.mean(dim=0), scaled.std(dim=0))
        found.append(head(scaled).logit.detach())
        other = scaled.clone()
        other[:, 0] = 3.1
        assert head(other).logit.detach() == found[-1]
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


@HEADS
def test_a_tile_is_judged_by_itself_unless_it_sees_its_neighbours(name):
    head, features = head_of(name), features_of((5, 0, 1.0))
    head.temperature.fill_(2.0)
    with torch.no_grad():
        if name == "transformer":
            with pytest.raises(ModelError, match="judges no tile by itself"):
                head.tile_logits(features)
            return
        torch.testing.assert_close(head.tile_logits(features), head(features).tile_logits)


@HEADS
def test_half_precision_is_for_layers_alone(name):
    """As on a GPU: what sums over tiles stays in float32, forward and backward."""
    head, features = head_of(name), features_of((40, 0, 1.0))
    with torch.no_grad():
        whole = head(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = head(features)
    assert {part.dtype for part in found} == {torch.float32}
    torch.testing.assert_close(found.logit.detach(), whole.logit, rtol=0.1, atol=0.05)
    torch.testing.assert_close(found.contributions.detach().sum(), found.logit.detach())
    found.logit.backward()
    gradients = [p.grad for p in head.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


class Largest(TorchDispatchMode):
    """Notes how many values the largest tensor has that an operation gives."""

    size = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.size = max([self.size, *sizes])
        return result


@HEADS
def test_20_000_tiles_need_no_memory_that_grows_with_their_square(name):
    tiles = 20_000
    head = make_head(name, 8, **({} if name in ("published", "mean") else {"hidden": 16}))
    with Largest() as largest:
        head(torch.ones(tiles, 8)).logit.backward()
    # The widest are the weights of a transformer's tiles for each point and head.
    assert largest.size <= tiles * 4 * 32


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("attention", {}, "there is no head 'attention'; there are: published, mean, abmil"),
        ("mean", {"p": 2}, "head mean: .*unexpected keyword argument 'p'"),
        ("published", {"p": 0.5}, "p must be at least 1, not 0.5"),
        ("abmil", {"hidden": 0}, "hidden must be at least 1, not 0"),
        ("additive", {"attention": 0}, "attention must be at least 1, not 0"),
        ("abmil", {"dropout": 1.0}, "dropout must be at least 0 and less than 1"),
        ("transformer", {"hidden": 130}, "hidden width 130 is no multiple of 4"),
        ("transformer", {"layers": 0}, "layers must be at least 1"),
    ],
)
def test_a_wrong_argument_is_named(name, arguments, message):
    with pytest.raises(ModelError, match=message):
        make_head(name, WIDTH, **arguments)
