"""Masked autoencoding: WavesFM's objective, after MAE (arXiv 2111.06377)."""

from __future__ import annotations

import torch
from torch import Tensor

from wfm_cli.core.models.base import Encoder
from wfm_cli.core.models.blocks.predictor import Predictor
from wfm_cli.core.models.tokens import TokenGrid
from wfm_cli.core.models.vit import PatchEncoder
from wfm_cli.core.objectives.base import LossParts, Objective, StepKey
from wfm_cli.core.objectives.views import View, Views, gather
from wfm_cli.core.recipe.masks import AnyMask
from wfm_cli.core.recipe.objectives import ReconstructionBlock
from wfm_cli.core.signal.completion import rank_completions

_FLOOR = 1e-6
"""Added to the variance of a patch, as published."""


class Reconstruction(Objective):
    """Encode the visible tokens alone, fill in the others with a narrow decoder, count the error on hidden tokens.

    `evaluate` gives `nmse`, the squared error over the power of the hidden patches in the space of the loss. Where a
    sample is one complex channel it stands beside low-rank completion given the same visible entries, else beside the
    mean of the visible patches. With `normalise_patches` the references are normalised patch by patch too, by their own
    mean and deviation: nobody is told those of the truth.
    """

    def __init__(self, block: ReconstructionBlock, masks: AnyMask, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.block = block
        self.views = Views(masks, encoder)
        sizes = block.decoder
        grid = encoder.tokenize(torch.zeros(1, *encoder.sample_shape))
        self.decoder = Predictor(
            grid.axes,
            grid.coords,
            encoder.dim,
            grid.patch,
            width=sizes.width,
            depth=sizes.depth,
            heads=sizes.heads,
            where="objective.decoder",
        )
        complex_channel = (
            isinstance(encoder, PatchEncoder)
            and encoder.layout.kind == "complex"
            and (encoder.domain, encoder.values) == ("element", "parts")
        )
        self._completes = complex_channel and len(encoder.sample_shape) == 3
        self.references = ("nmse_rank1", "nmse_rank2") if self._completes else ("nmse_visible",)

    def forward(self, batch: Tensor, ids: Tensor, key: StepKey) -> LossParts:
        """See `Objective.forward`; the mean over all hidden tokens of the whole batch."""
        total, tokens, logs = batch.new_zeros(()), 0, {}
        for view in self.views(ids, key):
            grid = self.encoder.tokenize(view.of(batch))
            error = (self.predict(grid, view) - self._space(gather(grid.values, view.target))).square().mean(-1)
            count = error.new_tensor(float(error.numel()))
            logs[f"loss_{view.geometry}"] = (error.detach().sum(), count)
            if self.training and self.views.memory is not None:
                self.views.memory.add(view.geometry, error.sum(), count)
            total, tokens = total + error.sum(), tokens + error.numel()
        return LossParts(total, total.new_tensor(float(tokens)), logs)

    @torch.no_grad()
    def evaluate(self, batch: Tensor, ids: Tensor, key: StepKey) -> dict[str, Tensor]:
        """See the class."""
        result = {name: batch.new_zeros(len(batch)) for name in ("nmse", *self.references)}
        for view in self.views(ids, key):
            grid = self.encoder.tokenize(view.of(batch))
            truth = self._space(gather(grid.values, view.target))
            guesses = [self.predict(grid, view), *(self._space(guess) for guess in self._untrained(grid, view))]
            power = truth.square().sum((1, 2)).clamp_min(torch.finfo(torch.float32).tiny)
            rows = slice(None) if view.rows is None else view.rows
            for name, guess in zip(result, guesses, strict=True):
                result[name][rows] = (guess - truth).square().sum((1, 2)) / power
        return result

    def predict(self, grid: TokenGrid, view: View) -> Tensor:
        """The decoder's numbers for the hidden tokens: (b, Kt, P) float32."""
        hidden = self.encoder.encode(grid, view.context)
        guess: Tensor = self.decoder(hidden, grid.coords, view.context, view.target)
        return guess.float()

    def after_step(self, step: int, total_steps: int) -> None:
        """Let an adaptive mixture take in the step's loss."""
        if self.views.memory is not None:
            self.views.memory.fold()

    def weights(self) -> dict[str, Tensor]:
        """The encoder as `encoder.`, the decoder as `decoder.`."""
        decoder = {f"decoder.{name}": value for name, value in self.decoder.state_dict().items()}
        return {**super().weights(), **decoder}

    def _space(self, patches: Tensor) -> Tensor:
        """Patches (b, K, P) as the loss compares them."""
        if not self.block.normalise_patches:
            return patches
        variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
        return (patches - mean) * (variance + _FLOOR).rsqrt()

    def _untrained(self, grid: TokenGrid, view: View) -> list[Tensor]:
        """Hidden patches according to the references."""
        if not self._completes or not isinstance(self.encoder, PatchEncoder):
            mean = gather(grid.values, view.context).mean(1, keepdim=True)
            return [mean.expand(-1, view.target.shape[1], -1)]
        marks = torch.zeros_like(grid.values).scatter(1, view.target.unsqueeze(-1).expand(-1, -1, grid.patch), 1.0)
        # What is neither context nor target is as little known to the completion as to the encoder.
        seen = torch.zeros_like(marks).scatter(1, view.context.unsqueeze(-1).expand(-1, -1, grid.patch), 1.0)
        unknown = self.encoder.untokenize(torch.maximum(marks, 1.0 - seen)).amax(-1) > 0
        h = torch.view_as_complex(self.encoder.untokenize(grid.values).contiguous())
        fits = [self.encoder.patches(torch.view_as_real(fit)) for fit in rank_completions(h, unknown, 2)]
        return [gather(fit, view.target) for fit in fits]
