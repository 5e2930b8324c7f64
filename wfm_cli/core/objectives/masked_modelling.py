"""Masked channel modelling: hide tokens, reconstruct them, count the error on hidden tokens alone."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from wfm_cli.core.masking.corrupt import corrupt
from wfm_cli.core.models.base import Encoder, MaskedEncoder
from wfm_cli.core.models.tokens import TokenGrid
from wfm_cli.core.objectives.base import LossParts, Objective, StepKey
from wfm_cli.core.objectives.masks import Masks, MaskSampler
from wfm_cli.core.recipe.masks import AnyMask
from wfm_cli.core.recipe.objectives import MaskedModellingBlock
from wfm_cli.core.signal.completion import rank_completions
from wfm_cli.errors import InputError, RecipeError


class MaskedModelling(Objective):
    """The pretext task of the LWM family (arXiv 2411.08872, section III).

    Two departures from the published code, both deliberate: masks are drawn anew at every visit of a sample, and the
    error is divided by the power of the *target* (v1.1 divides by that of the prediction, v1.0 by the target's
    variance over the batch). `evaluate` reports the normalised error beside rank-1 and rank-2 completion of the same
    masks, without which it says little: channels of few paths are nearly low-rank.
    """

    encoder: MaskedEncoder
    references = ("nmse_rank1", "nmse_rank2")

    def __init__(self, block: MaskedModellingBlock, masks: AnyMask, encoder: Encoder) -> None:
        if not isinstance(encoder, MaskedEncoder):
            raise RecipeError(
                f"objective 'masked_modelling': model '{encoder.kind}' has no reconstruction head",
                "choose a model that has one, such as lwm",
            )
        super().__init__(encoder)
        self.block = block
        self.masks = MaskSampler(masks, encoder)

    def forward(self, batch: Tensor, ids: Tensor, key: StepKey) -> LossParts:
        """See `Objective.forward`.

        The denominator is the power of all hidden tokens (`normalise: batch`), the number of samples, each divided by
        its own hidden power (`sample`; samples without any are left out), or the number of hidden elements (`none`).
        """
        grid = self.encoder.tokenize(batch)
        masks = self.masks(grid, ids, key)
        grid = _level_of_visible(grid, masks.index)
        target = _gather(grid.values, masks.index)
        error = (self._predict(grid, masks).float() - target).square().sum((1, 2))
        power = target.square().sum((1, 2))
        nmse = torch.where(power > 0, error / power.clamp_min(torch.finfo(power.dtype).tiny), 0.0)
        samples = (power > 0).sum()
        logs = {"nmse": (nmse.detach().sum(), samples)}
        if self.block.normalise == "sample":
            return LossParts(nmse.sum(), samples, logs)
        count = power.sum() if self.block.normalise == "batch" else power.new_tensor(target.numel())
        return LossParts(error.sum(), count, logs)

    @torch.no_grad()
    def evaluate(self, batch: Tensor, ids: Tensor, key: StepKey) -> dict[str, Tensor]:
        """Normalised squared error over hidden entries, linear, per sample.

        Returns:
            `nmse` of the model, and `nmse_rank1`, `nmse_rank2` of low-rank completion given the same visible entries. A
            channel entry counts as hidden for the completion as soon as one of its parts is.

        Raises:
            InputError: a sample has no power in its hidden tokens.
        """
        model = self.encoder
        grid = model.tokenize(batch)
        masks = self.masks(grid, ids, key)
        grid = _level_of_visible(grid, masks.index)
        rows = masks.index.unsqueeze(-1).expand(-1, -1, grid.patch)
        guess = model.untokenize(grid.values.scatter(1, rows, self._predict(grid, masks).to(grid.values.dtype)))
        truth = model.untokenize(grid.values)
        hidden = model.untokenize(torch.zeros_like(grid.values).scatter(1, rows, 1.0)) > 0
        power = _masked_power(truth, hidden)
        if not bool((power > 0).all()):
            sample = int(ids[int((power > 0).int().argmin())])
            raise InputError(
                f"sample {sample}: the hidden tokens carry no power, so their normalised error is undefined",
                "drop samples that are zero from the store",
            )
        result = {"nmse": _masked_power(guess - truth, hidden) / power}
        for name, fit in zip(self.references, _completions(truth, hidden), strict=True):
            result[name] = _masked_power(fit - truth, hidden) / power
        return result

    def _predict(self, grid: TokenGrid, masks: Masks) -> Tensor:
        """The model's numbers for hidden tokens: (B, K, P)."""
        values = corrupt(
            grid.values,
            masks.index,
            self.block.replace,
            self.encoder.mask_value,
            seed=masks.seed,
            step=masks.step,
            ids=masks.ids,
        )
        return self.encoder.fill(grid.with_values(values), masks.index)


def _level_of_visible(grid: TokenGrid, hidden: Tensor) -> TokenGrid:
    """Where an encoder divides samples by their power: the power of visible tokens alone, so that it tells nothing of
    the hidden ones. Errors are relative to each sample's own power and do not notice the other scale."""
    if grid.level_db is None:
        return grid
    energy = grid.values.square().sum(2)
    visible = torch.ones_like(energy).scatter(1, hidden, 0.0)
    power = (energy * visible).sum(1) / (visible.sum(1) * grid.patch).clamp_min(1)
    power = torch.where(power > 0, power, 1.0)
    values = grid.values * power.rsqrt().view(-1, 1, 1)
    return replace(grid, values=values, level_db=grid.level_db + 10 * power.log10())


def _gather(values: Tensor, index: Tensor) -> Tensor:
    """Rows (B, K, P) of (B, N, P)."""
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[2]))


def _masked_power(x: Tensor, hidden: Tensor) -> Tensor:
    """Energy of the hidden elements of every sample: (B,)."""
    return (x * hidden).flatten(1).square().sum(1)


def _completions(truth: Tensor, hidden: Tensor) -> list[Tensor]:
    """Completions of rank one and two in the layout of a sample: complex channels (B, M, K, 2), or real images."""
    if truth.shape[-1] == 2 and truth.ndim == 4:
        h = torch.view_as_complex(truth.contiguous())
        return [torch.view_as_real(fit) for fit in rank_completions(h, hidden.any(-1), 2)]
    shape = (truth.shape[0], *[size for size in truth.shape[1:] if size > 1])
    return [fit.view_as(truth) for fit in rank_completions(truth.reshape(shape), hidden.reshape(shape), 2)]
