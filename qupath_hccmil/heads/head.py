"""Heads: networks that turn the features of a patient's tiles into a logit.

In each head, the logit is the sum of one number per tile, its contribution. A map of contributions
is therefore the model itself and not an explanation that was added later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from qupath_hccmil.errors import ModelError
from qupath_hccmil.method.published_numbers import POWER
from qupath_hccmil.mil.aggregation_torch import slide_logit
from qupath_hccmil.model_store.model_config import HEAD_NAMES, HeadName
from qupath_hccmil.model_store.model_folder import ModelFolder


class HeadOutput(NamedTuple):
    """What a head says of a bag.

    Attributes
    ----------
    logit : () Tensor
        Logit of the patient; a higher one means a higher risk.
    contributions : (n,) Tensor
        Share of each tile in the logit; they sum to it.
    tile_logits : (n,) Tensor
        Logit that the patient would have if all tiles were like this one and had this one's
        neighbourhood.
    """

    logit: Tensor
    contributions: Tensor
    tile_logits: Tensor


class Head(nn.Module):
    """A head for features ``(n, width)`` of a bag of at least one tile.

    Parameters
    ----------
    width : int
        Number of features of a tile.

    Notes
    -----
    Features are standardised with mean and standard deviation of the training tiles (`mean` and
    `scale`, saved with the weights), so that one learning rate suits encoders of any scale.

    Logits and contributions are divided by the temperature of the model's calibration, which is 1
    in training.

    The `level` is a number that is added to the logit, where a head has one. Losses on follow-up
    compare patients and do not determine it; it is then set at the end of the training, so that the
    mean logit of the training patients is 0. A signed mean has no such number: there, a tile of
    average features gets the logit 0, see :meth:`leave_level_open`.
    """

    mean: Tensor
    scale: Tensor
    temperature: Tensor
    level: nn.Parameter | None
    sees_neighbours = False
    """Whether the logit of a tile depends on the other tiles."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("temperature", torch.tensor(1.0), persistent=False)
        self.register_parameter("level", None)

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Set mean and standard deviation ``(width,)`` of the features; constant ones become 0."""
        constant = deviation <= torch.finfo(deviation.dtype).eps * mean.abs()
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(constant, 0.0, 1 / deviation))

    def leave_level_open(self) -> None:
        """Prepare for a training whose loss does not determine the level."""
        if self.level is not None:
            # Its gradient is rounding alone, which AdamW would follow as if it were a slope.
            self.level.requires_grad_(False)

    @torch.no_grad()
    def set_level(self, mean_logit: float) -> None:
        """Set the level that such a training left open.

        Parameters
        ----------
        mean_logit : float
            Mean logit of the training patients.
        """
        if self.level is not None:
            self.level.sub_(mean_logit)

    def forward(self, features: Tensor) -> HeadOutput:
        """Judge a bag ``(n, width)`` float."""
        logit, contributions, tile_logits = self._judge((features - self.mean) * self.scale)
        return HeadOutput(
            logit / self.temperature,
            contributions / self.temperature,
            tile_logits / self.temperature,
        )

    def tile_logits(self, features: Tensor) -> Tensor:
        """Logits ``(n,)`` of tiles ``(n, width)``, each judged by itself.

        Raises
        ------
        ModelError
            The head judges no tile by itself.
        """
        if self.sees_neighbours:
            raise ModelError("a head whose tiles see one another judges no tile by itself")
        return self._tile_logits((features - self.mean) * self.scale) / self.temperature

    def _judge(self, features: Tensor) -> HeadOutput:
        raise NotImplementedError

    def _tile_logits(self, features: Tensor) -> Tensor:
        raise NotImplementedError


class PublishedHead(Head):
    """The signed generalised mean of tile logits, as in the published model.

    Parameters
    ----------
    width : int
    hidden : int
        Width of a hidden layer; 0 for a linear layer from features to tile logits.
    p : float
        Power of the mean, at least 1.

    Notes
    -----
    Liu et al. 2021 (arXiv 2106.00090). The contribution of a tile is its share of m, times S: with
    ``q_i = sign(s_i)·|s_i|^p``, ``c_i = S·q_i / Σ q``. If m = 0, S is 0 and so is every
    contribution.

    A number added to every tile logit changes the order of patients, and is not a level: with a
    large one, the signed mean becomes a plain mean, and all risks 0 or 1. So a training that leaves
    the level open holds the logit of a tile of average features at 0.
    """

    def __init__(self, width: int, hidden: int = 0, p: float = POWER) -> None:
        super().__init__(width)
        _at_least(1, p=p)
        self.p = float(p)
        self.tile = _tile_network(width, hidden)
        self._average_is_0 = False

    def leave_level_open(self) -> None:
        """Hold the logit of a tile of average features at 0."""
        self._average_is_0 = True
        # It cancels, so that its gradient is rounding alone.
        self._bias.requires_grad_(False)

    @torch.no_grad()
    def set_level(self, mean_logit: float) -> None:
        """Put what holds the average at 0 into the weights; the mean logit stays as it is."""
        self._bias.sub_(self._of_average())
        self._average_is_0 = False

    @property
    def _bias(self) -> Tensor:
        last = self.tile[-1] if isinstance(self.tile, nn.Sequential) else self.tile
        return cast(Tensor, last.bias)

    def _of_average(self) -> Tensor:
        """Output ``(1,)`` for a tile whose standardised features are 0."""
        output: Tensor = self.tile(torch.zeros_like(self.mean)[None])[:, 0].float()
        return output

    def _tile_logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.tile(features)[:, 0].float()
        return logits - self._of_average() if self._average_is_0 else logits

    def _judge(self, features: Tensor) -> HeadOutput:
        s = self._tile_logits(features)
        logit = slide_logit(s, self.p)
        with torch.no_grad():
            # Divided by the largest, so that no power overflows.
            largest = s.abs().max()
            relative = s / torch.where(largest == 0, 1.0, largest)
            powers = relative.sign() * relative.abs() ** self.p
            total = powers.sum()
            shares = torch.where(total == 0, 0.0, powers / torch.where(total == 0, 1.0, total))
            contributions = logit * shares
        return HeadOutput(logit, contributions, s)


class MeanHead(Head):
    """The mean of tile logits; the contribution of a tile is its logit over the number of tiles.

    Parameters
    ----------
    width : int
    hidden : int
        Width of a hidden layer; 0 for a linear layer from features to tile logits.
    """

    def __init__(self, width: int, hidden: int = 0) -> None:
        super().__init__(width)
        self.tile = _tile_network(width, hidden, bias=False)
        self.level = nn.Parameter(torch.zeros(()))

    def _tile_logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.tile(features)[:, 0].float() + self.level
        return logits

    def _judge(self, features: Tensor) -> HeadOutput:
        s = self._tile_logits(features)
        return _weighted(torch.full_like(s, 1 / len(s)), s)


class AbmilHead(Head):
    """Gated attention (Ilse et al. 2018) with a linear classifier.

    Parameters
    ----------
    width : int
    hidden : int
        Width of a tile's embedding h.
    attention : int
        Width of the attention network.
    dropout : float
        Of the embedding, in training.

    Notes
    -----
    ``a = softmax(w·(tanh(Vh) ⊙ sigmoid(Uh)))`` and ``S = v·Σ a_i h_i + b``. Since the weights sum
    to 1, ``S = Σ a_i (v·h_i + b)``: contributions are exact, because the classifier is linear.
    """

    def __init__(
        self, width: int, hidden: int = 128, attention: int = 64, dropout: float = 0.25
    ) -> None:
        super().__init__(width)
        self.embed = _embedding(width, hidden, dropout)
        self.attention = GatedAttention(hidden, attention)
        self.classifier: nn.Module = nn.Linear(hidden, 1, bias=False)
        self.level = nn.Parameter(torch.zeros(()))

    def _tile_logits(self, features: Tensor) -> Tensor:
        return self._classified(self.embed(features))

    def _judge(self, features: Tensor) -> HeadOutput:
        h = self.embed(features)
        return _weighted(self.attention(h), self._classified(h))

    def _classified(self, h: Tensor) -> Tensor:
        logits: Tensor = self.classifier(h)[:, 0].float() + self.level
        return logits


class AdditiveHead(AbmilHead):
    """Additive MIL (Javed et al., NeurIPS 2022): attention, then a network for each tile.

    Parameters
    ----------
    width, hidden, attention, dropout
        See :class:`AbmilHead`.

    Notes
    -----
    Javed et al. apply a network ψ to the weighted tile, ``S = Σ ψ(a_i h_i)``. With biases in ψ the
    sum would grow with the number of tiles, since ``ψ(0) ≠ 0``. Here ψ has ReLUs and no biases, so
    ``ψ(a h) = a ψ(h)``, and ``S = Σ a_i (ψ(h_i) + b)``.
    """

    def __init__(
        self, width: int, hidden: int = 128, attention: int = 64, dropout: float = 0.25
    ) -> None:
        super().__init__(width, hidden, attention, dropout)
        self.classifier = nn.Sequential(
            nn.Linear(hidden, hidden, bias=False),
            nn.ReLU(),
            nn.Linear(hidden, 1, bias=False),
        )


class TransformerHead(Head):
    """Tiles that see one another, then attention and a logit per tile, which is additive.

    Parameters
    ----------
    width : int
    hidden : int
        Width of a token; a multiple of `heads`.
    layers, heads : int
        Number of layers, and of attention heads in each.
    points : int
        Number of inducing points of a layer.
    attention : int
        Width of the attention network that weights tiles.
    dropout : float
        Of the embedding, in training.

    Notes
    -----
    Tiles attend to a few learned points, which attend to all tiles (induced set attention, Lee et
    al. 2019), so that memory and time grow with n and not with n². Tiles have no positions, so that
    their order has no effect.
    """

    sees_neighbours = True

    def __init__(
        self,
        width: int,
        hidden: int = 128,
        layers: int = 2,
        heads: int = 4,
        points: int = 32,
        attention: int = 64,
        dropout: float = 0.25,
    ) -> None:
        super().__init__(width)
        _at_least(1, layers=layers, heads=heads, points=points)
        if hidden % heads:
            raise ModelError(f"a transformer's hidden width {hidden} is no multiple of {heads}")
        self.embed = _embedding(width, hidden, dropout)
        self.layers = nn.ModuleList(InducedAttention(hidden, heads, points) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.attention = GatedAttention(hidden, attention)
        self.classifier = nn.Linear(hidden, 1, bias=False)
        self.level = nn.Parameter(torch.zeros(()))

    def _judge(self, features: Tensor) -> HeadOutput:
        tokens = self.embed(features)
        for layer in self.layers:
            tokens = layer(tokens)
        tokens = self.norm(tokens)
        tile_logits = self.classifier(tokens)[:, 0].float() + self.level
        return _weighted(self.attention(tokens), tile_logits)


class GatedAttention(nn.Module):
    """Weights of tiles that sum to 1 (Ilse et al. 2018, eq. 9)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        _at_least(1, attention=hidden)
        self.value = nn.Linear(width, hidden)
        self.gate = nn.Linear(width, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        """Map (n, width) to weights (n,) float32."""
        scores: Tensor = self.score(torch.tanh(self.value(h)) * torch.sigmoid(self.gate(h)))
        return torch.softmax(scores[:, 0].float(), dim=0)


class InducedAttention(nn.Module):
    """A layer in which tokens attend to one another through a few learned points."""

    def __init__(self, width: int, heads: int, points: int) -> None:
        super().__init__()
        self.points = nn.Parameter(0.02 * torch.randn(points, width))
        self.norm = nn.LayerNorm(width)
        self.collect = nn.MultiheadAttention(width, heads, batch_first=True)
        self.spread = nn.MultiheadAttention(width, heads, batch_first=True)
        self.feed = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (n, width) to (n, width)."""
        seen = self.norm(tokens)[None]
        points = self.points[None]
        summary = points + self.collect(points, seen, seen, need_weights=False)[0]
        tokens = tokens + self.spread(seen, summary, summary, need_weights=False)[0][0]
        result: Tensor = tokens + self.feed(tokens)
        return result


_HEADS: Mapping[HeadName, type[Head]] = {
    "published": PublishedHead,
    "mean": MeanHead,
    "abmil": AbmilHead,
    "additive": AdditiveHead,
    "transformer": TransformerHead,
}


def make_head(name: str, width: int, **arguments: Any) -> Head:
    """Make a head with random weights, from torch's random numbers.

    Parameters
    ----------
    name : {"published", "mean", "abmil", "additive", "transformer"}
    width : int
        Number of features of a tile.
    **arguments
        Of the head's class.

    Raises
    ------
    ModelError
        There is no such head, or an argument is not one of its own or out of range.
    """
    if name not in HEAD_NAMES:
        raise ModelError(f"there is no head {name!r}; there are: {', '.join(HEAD_NAMES)}")
    _at_least(1, width=width)
    try:
        return _HEADS[name](width, **arguments)
    except TypeError as error:
        raise ModelError(f"head {name}: {error}") from error


def load_head(folder: ModelFolder) -> Head:
    """Build the head of a model folder, in evaluation mode, with its temperature.

    Raises
    ------
    ModelError
        The model is not a head, or the weights do not fit.
    """
    config = folder.config
    if not config.is_head or config.risk is None:
        raise ModelError(
            f"{folder.path}: is a network for tiles, not a head on features; leave --features out"
        )
    arguments = dict(config.architecture)
    head = make_head(arguments.pop("name"), arguments.pop("width", 0), **arguments)
    try:
        head.load_state_dict(folder.weights())
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ModelError(f"{folder.path}: the weights do not fit its head ({reason})") from error
    head.temperature.fill_(config.risk.temperature)
    return head.eval()


def _tile_network(width: int, hidden: int, *, bias: bool = True) -> nn.Module:
    _at_least(0, hidden=hidden)
    if not hidden:
        return nn.Linear(width, 1, bias=bias)
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1, bias=bias))


def _embedding(width: int, hidden: int, dropout: float) -> nn.Module:
    _at_least(1, hidden=hidden)
    if not 0 <= dropout < 1:
        raise ModelError(f"dropout must be at least 0 and less than 1, not {dropout}")
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout))


def _weighted(weights: Tensor, tile_logits: Tensor) -> HeadOutput:
    contributions = weights * tile_logits
    return HeadOutput(contributions.sum(), contributions, tile_logits)


def _at_least(least: float, **values: float) -> None:
    for name, value in values.items():
        if value < least:
            raise ModelError(f"{name} must be at least {least:g}, not {value:g}")
