"""Masked reconstruction of multimodal sequences: what JEPA-MSAC (arXiv 2603.29796) compares itself with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wfm_cli.core.masking.frames import FrameMasks, hidden_tokens, nearest_visible
from wfm_cli.core.masking.sampler import MaskSet
from wfm_cli.core.models.blocks.transformer import start
from wfm_cli.core.models.bundle import count
from wfm_cli.core.models.jepa_msac import JEPAMSACEncoder
from wfm_cli.core.models.tokens import TokenGrid
from wfm_cli.core.objectives.base import LossParts, Objective, StepKey
from wfm_cli.core.objectives.contents import Contents
from wfm_cli.core.recipe.msac import ModalityMask, SensorReconstructionBlock
from wfm_cli.errors import RecipeError

_TINY = torch.finfo(torch.float32).tiny


class SensorReconstruction(Objective):
    """Fill in the content of hidden frames from the visible frames of all sensors.

    The context encoder sees the visible tokens alone, the encoder's predictor makes latents of the hidden ones, and a
    linear head per sensor makes their contents (`Contents`). The loss is the mean squared error per sensor in units of
    the variance over the training frames, averaged over the sensors with the recipe's weights.

    `evaluate` gives `nmse`, the squared error over the power of the hidden contents about their training means, all
    sensors weighted as in the loss, and `nmse_future` with the whole future hidden, as the later tasks have it. Beside
    the former stand two methods that need no training: `nmse_nearest` repeats, for every hidden token, the content of
    the nearest visible frame of the same sensor, `nmse_mean` is the training mean of the place (0 dB by definition).
    `share_nmse_<sensor>` and `share_nmse_<sensor>_nearest` are the errors of single sensors in units of the training
    variance.
    """

    references = ("nmse_nearest", "nmse_mean")
    encoder: JEPAMSACEncoder

    def __init__(self, block: SensorReconstructionBlock, masks: ModalityMask, encoder: JEPAMSACEncoder) -> None:
        super().__init__(encoder)
        self.block, self.looks = block, block.statistics_windows
        model = encoder.block
        self.masks = FrameMasks(
            encoder._coords, ("time", "modality", "patch"), masks.pattern, masks.ratio, model.horizon, masks.future
        )
        self.contents = Contents(block, encoder)
        # Nearly zero: a fresh model answers with the training mean.
        self.heads = nn.ModuleDict(
            {name: start(nn.Linear(encoder.dim, size), 0.02) for name, size in self.contents.sizes.items()}
        )
        shares = {name: block.weights.get(name, 1.0) for name in model.modalities}
        self.shares: dict[str, float] = {name: share / sum(shares.values()) for name, share in shares.items()}

    def look(self, batches: Iterable[Any]) -> None:
        """See `Objective.look`: the means and deviations of all contents."""
        self.contents.fit(self.encoder, batches)

    def forward(self, batch: Any, ids: Tensor, key: StepKey) -> LossParts:
        """See `Objective.forward`; the mean over the samples, each of which hides as much as any other."""
        masks = self.masks(ids, key.seed, key.step)
        hidden = self._hidden(masks)
        guess = self.predict(self.encoder.tokenize(batch), masks)
        errors = _squares(guess, self.contents(self.encoder, batch), hidden)
        total = self._weighted(errors).sum()
        samples = total.new_tensor(float(count(batch)))
        logs = {f"loss_{name}": (error.detach().sum(), samples) for name, error in errors.items()}
        return LossParts(total, samples, {f"loss_{masks.geometry}": (total.detach(), samples), **logs})

    @torch.no_grad()
    def evaluate(self, batch: Any, ids: Tensor, key: StepKey) -> dict[str, Tensor]:
        """See the class."""
        grid, truth = self.encoder.tokenize(batch), self.contents(self.encoder, batch)
        zero = {name: torch.zeros_like(cells) for name, cells in truth.items()}
        masks = self.masks(ids, key.seed, key.step, kind=self.masks.pattern)
        future = self.masks(ids, key.seed, key.step, kind="future")
        hidden, ahead = self._hidden(masks), self._hidden(future)
        errors = _squares(self.predict(grid, masks), truth, hidden)
        nearest = _squares(_nearest(truth, hidden), truth, hidden)
        power = self._weighted(_squares(zero, truth, hidden)).clamp_min(_TINY)
        found = {
            "nmse": self._weighted(errors) / power,
            "nmse_future": self._weighted(_squares(self.predict(grid, future), truth, ahead))
            / self._weighted(_squares(zero, truth, ahead)).clamp_min(_TINY),
            "nmse_nearest": self._weighted(nearest) / power,
            "nmse_mean": torch.ones_like(power),
        }
        for name in truth:
            found |= {f"share_nmse_{name}": errors[name], f"share_nmse_{name}_nearest": nearest[name]}
        return found

    def predict(self, grid: TokenGrid, masks: MaskSet) -> dict[str, Tensor]:
        """Contents of the hidden tokens according to the model, (B, T, tokens, P) float32 per sensor.

        Places of visible tokens hold numbers without a meaning.
        """
        seen = self.encoder.encode(grid, masks.context)
        latents = self.encoder.predict(seen, grid.coords, masks.target)
        index = masks.target.unsqueeze(-1).expand(-1, -1, latents.shape[2])
        placed = latents.new_zeros(grid.batch, grid.count, latents.shape[2]).scatter(1, index, latents)
        parts = self._by_sensor(placed.view(grid.batch, -1, self.encoder.frame_tokens, latents.shape[2]))
        return {name: self.heads[name](part).float() for name, part in parts.items()}

    def _hidden(self, masks: MaskSet) -> dict[str, Tensor]:
        """(B, T, tokens) bool per sensor."""
        return self._by_sensor(hidden_tokens(masks.target, self.encoder.block.steps, self.encoder.frame_tokens))

    def _by_sensor(self, frames: Tensor) -> dict[str, Tensor]:
        """(B, T, frame tokens, ...) cut into the tokens of every sensor."""
        counts = self.contents.counts
        return dict(zip(counts, torch.split(frames, list(counts.values()), 2), strict=True))

    def _weighted(self, errors: Mapping[str, Tensor]) -> Tensor:
        """Weighted mean over the sensors, (B,)."""
        return torch.stack([self.shares[name] * error for name, error in errors.items()]).sum(0)

    def weights(self) -> dict[str, Tensor]:
        """The encoder with its predictor under `encoder.`, the heads and what contents are measured in beside it."""
        parts = {"heads": self.heads, "contents": self.contents}
        more = {f"{part}.{name}": value for part, held in parts.items() for name, value in held.state_dict().items()}
        return super().weights() | more


def build(block: SensorReconstructionBlock, masks: Any, encoder: Any) -> SensorReconstruction:
    """The objective around an encoder.

    Raises:
        RecipeError: the encoder is of another kind, the masks are, or the weights leave nothing to learn.
    """
    if not isinstance(encoder, JEPAMSACEncoder):
        raise RecipeError(
            f"objective.kind 'sensor_reconstruction': model '{encoder.kind}' has no predictor of frames",
            "use model.kind=jepa_msac, or objective.kind=reconstruction",
        )
    if not isinstance(masks, ModalityMask):
        raise RecipeError(
            f"masks.kind '{masks.kind}': sensor_reconstruction hides frames of modalities",
            "set masks={kind: modality}",
        )
    known = encoder.block.modalities
    unknown = [name for name in block.weights if name not in known]
    if unknown:
        raise RecipeError(
            f"objective.weights: the model has no {' and no '.join(unknown)}", f"its sensors: {', '.join(known)}"
        )
    if not sum(block.weights.get(name, 1.0) for name in known) > 0:
        raise RecipeError("objective.weights: every sensor has weight 0", "leave one of them above 0")
    return SensorReconstruction(block, masks, encoder)


def _squares(
    guess: Mapping[str, Tensor], truth: Mapping[str, Tensor], hidden: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Mean squared error over the hidden tokens of every sample, (B,) per sensor."""
    made = {}
    for name, marks in hidden.items():
        error = (guess[name] - truth[name]).square().mean(-1)
        made[name] = torch.where(marks, error, 0.0).sum((1, 2)) / marks.sum((1, 2)).clamp_min(1)
    return made


def _nearest(truth: Mapping[str, Tensor], hidden: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The contents of the nearest visible frame of the same sensor; the training mean where there is none."""
    made = {}
    for name, marks in hidden.items():
        times, known = nearest_visible(marks)
        cells = truth[name]
        found = cells.gather(1, times.unsqueeze(-1).expand_as(cells))
        made[name] = torch.where(known.unsqueeze(-1), found, 0.0)
    return made
