"""Joint-embedding prediction: predict hidden tokens in the space of an encoder, never in that of the signal.

`Jepa` is LatentWave's objective (arXiv 2606.06373) with I-JEPA's choices where it is silent (arXiv 2301.08243): targets
come from a slow copy of the encoder that sees the whole sample, and are normalised; the context encoder computes
visible tokens alone; one narrow predictor fills in all targets in one pass. `JepaSigreg` has no slow copy.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from wfm_cli.core.models.base import Encoder
from wfm_cli.core.models.blocks.predictor import Predictor
from wfm_cli.core.models.tokens import TokenGrid
from wfm_cli.core.objectives.base import LossParts, Objective, StepKey
from wfm_cli.core.objectives.sigreg import all_sum, directions, sigreg
from wfm_cli.core.objectives.views import View, Views, gather
from wfm_cli.core.recipe.masks import AnyMask
from wfm_cli.core.recipe.objectives import JepaBlock, JepaSigregBlock
from wfm_cli.core.training.ema import follow, gap, momentum

_DISTANCES = {"smooth_l1": F.smooth_l1_loss, "l1": F.l1_loss, "l2": F.mse_loss}
_FLOOR = 1e-5
"""Added to variances of targets."""


@dataclass(frozen=True)
class Predicted:
    """A forward pass over one view."""

    guess: Tensor
    """(b, Kt, D) float32, predictions."""
    target: Tensor
    """(b, Kt, D) float32, what they should be."""
    visible: Tensor
    """(b, Kc, D) float32, what the target encoder makes of the visible tokens."""
    pooled: Tensor
    """(b, D), mean of the context encoder's visible tokens."""


class LatentPrediction(Objective):
    """What the two kinds of joint-embedding prediction share.

    `evaluate` gives `nmse_latent`, the squared error of the predictions over the power of the targets, beside two
    predictors that need no training: `nmse_latent_context` repeats the mean of what the target encoder makes of the
    sample's visible tokens, `nmse_latent_mean` the mean target of the batch. A model that is no better than these has
    learned nothing about the sample; a low error alone says little, as the targets are its own.
    """

    references = ("nmse_latent_context", "nmse_latent_mean")
    loss_ranks = False

    def __init__(self, block: JepaBlock | JepaSigregBlock, masks: AnyMask, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.block = block
        self.views = Views(masks, encoder)
        sizes = block.predictor
        self.predictor = Predictor(
            self.views.axes,
            self.views.coords,
            encoder.dim,
            encoder.dim,
            width=sizes.width,
            depth=sizes.depth,
            heads=sizes.heads,
            where="objective.predictor",
        )

    @property
    @abstractmethod
    def teacher(self) -> Encoder:
        """The encoder that makes targets."""

    def forward(self, batch: Tensor, ids: Tensor, key: StepKey) -> LossParts:
        """See `Objective.forward`; the mean over all target tokens of the whole batch."""
        total, tokens, pooled, logs = batch.new_zeros(()), 0, [], {}
        for view in self.views(ids, key):
            found = self.predict(self.encoder.tokenize(view.of(batch)), view)
            error = _DISTANCES[self.block.loss](found.guess, found.target, reduction="none").mean(-1)
            count = error.new_tensor(float(error.numel()))
            logs[f"loss_{view.geometry}"] = (error.detach().sum(), count)
            if self.training and self.views.memory is not None:
                self.views.memory.add(view.geometry, error.sum(), count)
            total, tokens = total + error.sum(), tokens + error.numel()
            pooled.append(found.pooled)
        return self.complete(LossParts(total, total.new_tensor(float(tokens)), logs), torch.cat(pooled), key)

    def complete(self, parts: LossParts, pooled: Tensor, key: StepKey) -> LossParts:
        """Add what the loss has beside the prediction; `pooled` are (B, D) context embeddings."""
        return parts

    @torch.no_grad()
    def evaluate(self, batch: Tensor, ids: Tensor, key: StepKey) -> dict[str, Tensor]:
        """See the class."""
        result = {name: batch.new_zeros(len(batch)) for name in ("nmse_latent", *self.references)}
        for view in self.views(ids, key):
            found = self.predict(self.encoder.tokenize(view.of(batch)), view)
            rows = slice(None) if view.rows is None else view.rows
            context, mean = found.visible.mean(1, keepdim=True), found.target.mean((0, 1), keepdim=True)
            power = found.target.square().mean((1, 2)).clamp_min(torch.finfo(torch.float32).tiny)
            for name, guess in zip(result, (found.guess, context, mean), strict=True):
                result[name][rows] = (guess - found.target).square().mean((1, 2)) / power
        return result

    def predict(self, grid: TokenGrid, view: View) -> Predicted:
        """Both encoders and the predictor on one view."""
        shown = None if view.shown is None else view.shown.expand(grid.batch, -1)
        with torch.no_grad(), self._target_precision(grid.values.device.type):
            # The level of a sample is no secret: were it part of the targets, to repeat it would be the easy way out.
            hidden = self.teacher.encode(replace(grid, level_db=None), shown)
            hidden = hidden[:, -(grid.count if shown is None else shown.shape[1]) :].float()
        hidden = _normalise(hidden, self.block.normalise_targets, self.training)
        whole = hidden
        if shown is not None:  # back to places of the whole grid
            whole = hidden.new_zeros(grid.batch, grid.count, hidden.shape[2])
            whole.scatter_(1, shown.unsqueeze(-1).expand_as(hidden), hidden)
        seen = self.encoder.encode(grid, view.context)
        guess = self.predictor(seen, grid.coords, view.context, view.target).float()
        pooled = seen[:, self.encoder.prefix :].mean(1)
        return Predicted(guess, gather(whole, view.target), gather(whole, view.context), pooled)

    def _target_precision(self, device: str) -> torch.autocast:
        """Arithmetic of the target pass.

        Without autocast's cache of casted weights: filled while gradients are off, it would cut the encoder's weights
        off from the gradient of a later pass.
        """
        lower = self.block.target_precision == "bf16"
        dtype = torch.bfloat16 if lower else torch.get_autocast_dtype(device)
        return torch.autocast(device, dtype, lower or torch.is_autocast_enabled(device), cache_enabled=False)

    def after_step(self, step: int, total_steps: int) -> None:
        """Let an adaptive mixture take in the step's loss."""
        if self.views.memory is not None:
            self.views.memory.fold()

    def weights(self) -> dict[str, Tensor]:
        """The target encoder as `encoder.`, the context encoder as `context.` where it is another, the predictor."""
        parts = {"encoder": self.teacher, "predictor": self.predictor}
        if self.teacher is not self.encoder:
            parts["context"] = self.encoder
        return {
            f"{part}.{name}": value for part, module in parts.items() for name, value in module.state_dict().items()
        }


def _normalise(targets: Tensor, how: str, together: bool) -> Tensor:
    """Targets (B, N, D) as the block's `normalise_targets` wants them; `together` counts the samples of all ranks."""
    if how == "layer":
        return F.layer_norm(targets, targets.shape[-1:])
    if how == "batch":
        count = targets.new_tensor(float(len(targets)))
        mean = all_sum(targets.sum(0), together) / (samples := all_sum(count, together))
        centred = targets - mean
        variance = all_sum(centred.square().mean(1).sum(0), together) / samples
        return centred * (variance + _FLOOR).rsqrt()
    return targets


class Jepa(LatentPrediction):
    """With a slow copy of the encoder as teacher, which is the encoder that is kept."""

    block: JepaBlock

    def __init__(self, block: JepaBlock, masks: AnyMask, encoder: Encoder) -> None:
        super().__init__(block, masks, encoder)
        self.target = copy.deepcopy(encoder).requires_grad_(False)

    @property
    def teacher(self) -> Encoder:
        """The slow copy."""
        return self.target

    def embed(self, batch: Tensor) -> Tensor:
        """Embeddings of the encoder that is kept."""
        return self.target.embed(batch)

    def after_step(self, step: int, total_steps: int) -> None:
        """Move the slow copy."""
        super().after_step(step, total_steps)
        rate = momentum(step, total_steps, *self.block.momentum, shape=self.block.momentum_shape)
        follow(self.target, self.encoder, rate)

    def monitors(self) -> dict[str, float]:
        """`ema_gap`: distance of the two encoders over the length of the slow one's weights."""
        return {"ema_gap": gap(self.target, self.encoder)}


class JepaSigreg(LatentPrediction):
    """Without a teacher: (1 - weight) prediction + weight SIGReg of the pooled context.

    SIGReg grows with the number of samples in a micro-batch, as the statistic of a test does; keep that number when a
    recipe is moved to other devices.
    """

    block: JepaSigregBlock

    def __init__(self, block: JepaSigregBlock, masks: AnyMask, encoder: Encoder) -> None:
        super().__init__(block, masks, encoder)

    @property
    def teacher(self) -> Encoder:
        """The encoder itself."""
        return self.encoder

    def complete(self, parts: LossParts, pooled: Tensor, key: StepKey) -> LossParts:
        """Weigh prediction and SIGReg."""
        axes = directions(key.seed, key.step, pooled.shape[1], self.block.directions, pooled.device)
        statistic = sigreg(pooled, axes)
        weight = self.block.weight
        total = (1 - weight) * parts.total + weight * statistic * parts.count
        return LossParts(total, parts.count, {**parts.logs, "sigreg": (statistic.detach() * parts.count, parts.count)})
