"""Temporal multimodal joint-embedding prediction: JEPA-MSAC (arXiv 2603.29796) III-B, equations 13 to 17."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wfm_cli.core.masking.frames import FrameMasks, hidden_tokens, nearest_visible
from wfm_cli.core.masking.sampler import MaskSet
from wfm_cli.core.models.jepa_msac import JEPAMSACEncoder
from wfm_cli.core.models.tokens import TokenGrid
from wfm_cli.core.objectives.base import LossParts, Objective, StepKey
from wfm_cli.core.objectives.views import gather
from wfm_cli.core.recipe.msac import JepaMSACBlock, ModalityMask
from wfm_cli.core.training.ema import follow, gap, momentum
from wfm_cli.errors import RecipeError

_DISTANCES = {"smooth_l1": F.smooth_l1_loss, "l1": F.l1_loss, "l2": F.mse_loss}
_TINY = torch.finfo(torch.float32).tiny


class JepaMSAC(Objective):
    """Predict the latents of hidden frames from the visible frames of all sensors.

    Targets come from a slow copy of the context encoder that sees whole windows. `evaluate` gives `nmse_latent`, the
    squared error over the power of the targets, of the recipe's masks, and `nmse_latent_future` with the whole future
    hidden, as the later tasks have it; beside the former two predictors that need no training: `nmse_latent_last`
    repeats, for every hidden token, the target of the nearest visible frame of the same sensor, `nmse_latent_mean` the
    mean target of the batch.
    """

    references = ("nmse_latent_last", "nmse_latent_mean")
    loss_ranks = False
    encoder: JEPAMSACEncoder

    def __init__(self, block: JepaMSACBlock, masks: ModalityMask, encoder: JEPAMSACEncoder) -> None:
        super().__init__(encoder)
        self.block = block
        model = encoder.block
        self.masks = FrameMasks(
            encoder._coords, ("time", "modality", "patch"), masks.pattern, masks.ratio, model.horizon, masks.future
        )
        self.target = nn.ModuleDict(copy.deepcopy(self._followed())).requires_grad_(False)

    def _followed(self) -> dict[str, nn.Module]:
        """Parts of the encoder that have a slow copy."""
        slow = {"tokenizers": self.encoder.tokenizers} if self.block.tokenizers == "slow" else {}
        return {"blocks": self.encoder.blocks, "norm": self.encoder.norm, **slow}

    def forward(self, batch: Any, ids: Tensor, key: StepKey) -> LossParts:
        """See `Objective.forward`; the mean over all hidden tokens of the whole batch."""
        grid = self.encoder.tokenize(batch)
        masks = self.masks(ids, key.seed, key.step)
        guess, target = self._predict(grid, self._targets(batch, grid), masks)
        error = _DISTANCES[self.block.loss](guess, target, reduction="none").mean(-1)
        tokens = error.new_tensor(float(error.numel()))
        return LossParts(error.sum(), tokens, {f"loss_{masks.geometry}": (error.detach().sum(), tokens)})

    @torch.no_grad()
    def evaluate(self, batch: Any, ids: Tensor, key: StepKey) -> dict[str, Tensor]:
        """See the class."""
        grid = self.encoder.tokenize(batch)
        targets = self._targets(batch, grid)
        masks = self.masks(ids, key.seed, key.step, kind=self.masks.pattern)
        guess, target = self._predict(grid, targets, masks)
        future = self._predict(grid, targets, self.masks(ids, key.seed, key.step, kind="future"))
        last = self._nearest_visible(targets, masks)
        mean = target.mean((0, 1), keepdim=True).expand_as(target)
        return {
            "nmse_latent": _nmse(guess, target),
            "nmse_latent_future": _nmse(*future),
            "nmse_latent_last": _nmse(last, target),
            "nmse_latent_mean": _nmse(mean, target),
        }

    def _targets(self, batch: Any, grid: TokenGrid) -> Tensor:
        """What the slow encoder makes of whole windows: (B, N, D) float32."""
        with torch.no_grad(), torch.autocast(grid.values.device.type, cache_enabled=False, enabled=_autocast(grid)):
            if "tokenizers" in self.target:
                grid = self.encoder.tokenize(batch, cast(nn.ModuleDict, self.target["tokenizers"]))
            x = grid.values.detach() + self.encoder.positions(grid.coords)
            for block in cast(nn.ModuleList, self.target["blocks"]):
                x = block(x)
            hidden: Tensor = self.target["norm"](x).float()
        return F.layer_norm(hidden, hidden.shape[-1:]) if self.block.normalise_targets == "layer" else hidden

    def _predict(self, grid: TokenGrid, targets: Tensor, masks: MaskSet) -> tuple[Tensor, Tensor]:
        """Predictions and targets of the hidden tokens, (B, Kt, D) float32 each."""
        seen = self.encoder.encode(grid, masks.context)
        guess = self.encoder.predict(seen, grid.coords, masks.target).float()
        return guess, gather(targets, masks.target)

    def _nearest_visible(self, targets: Tensor, masks: MaskSet) -> Tensor:
        """For every hidden token the target at the nearest visible time of the same modality and patch, the earlier of
        two equally near ones; the mean of the visible targets where there is none."""
        frame = self.encoder.frame_tokens
        times, known = nearest_visible(hidden_tokens(masks.target, self.encoder.block.steps, frame))
        source = (times * frame + torch.arange(frame, device=targets.device)).flatten(1)
        found = gather(targets, source)
        mean = gather(targets, masks.context).mean(1, keepdim=True)
        return gather(torch.where(known.flatten(1)[..., None], found, mean), masks.target)

    def after_step(self, step: int, total_steps: int) -> None:
        """Move the slow copy."""
        rate = momentum(step, total_steps, *self.block.momentum, shape=self.block.momentum_shape)
        for name, part in self._followed().items():
            follow(self.target[name], part, rate)

    def monitors(self) -> dict[str, float]:
        """`ema_gap`: distance of the two encoders over the length of the slow one's weights."""
        return {"ema_gap": gap(self.target["blocks"], self.encoder.blocks)}

    def weights(self) -> dict[str, Tensor]:
        """The encoder with its predictor under `encoder.`, the slow copy under `target.`.

        The paper keeps the context encoder and the predictor for its tasks: the predictor reads its latents.
        """
        return super().weights() | {f"target.{name}": value for name, value in self.target.state_dict().items()}


def build(block: JepaMSACBlock, masks: Any, encoder: Any) -> JepaMSAC:
    """The objective around an encoder.

    Raises:
        RecipeError: the encoder is of another kind, or the masks are.
    """
    if not isinstance(encoder, JEPAMSACEncoder):
        raise RecipeError(
            f"objective.kind 'jepa_msac': model '{encoder.kind}' has no predictor of frames",
            "use model.kind=jepa_msac, or objective.kind=jepa",
        )
    if not isinstance(masks, ModalityMask):
        raise RecipeError(
            f"masks.kind '{masks.kind}': jepa_msac hides frames of modalities", "set masks={kind: modality}"
        )
    return JepaMSAC(block, masks, encoder)


def _autocast(grid: TokenGrid) -> bool:
    return torch.is_autocast_enabled(grid.values.device.type)


def _nmse(guess: Tensor, target: Tensor) -> Tensor:
    """Squared error over power per sample: (B, K, D) twice -> (B,)."""
    return (guess - target).square().mean((1, 2)) / target.square().mean((1, 2)).clamp_min(_TINY)
