"""LWM-Spectro's pretraining (arXiv 2601.08780): masked spectrogram modelling and contrast of views."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wfm_cli.core.masking.corrupt import corrupt
from wfm_cli.core.models.base import Encoder
from wfm_cli.core.models.lwm_spectro import LWMSpectroEncoder, image_size
from wfm_cli.core.models.lwm_spectro_moe import LWMSpectroMoE
from wfm_cli.core.models.tokens import TokenGrid
from wfm_cli.core.objectives.base import LossParts, Objective, StepKey
from wfm_cli.core.objectives.contrastive import Contrast, Projection, contrast
from wfm_cli.core.objectives.frames import NAMES, fillings
from wfm_cli.core.objectives.masks import PUBLISHED_RATIO
from wfm_cli.core.objectives.routing import Logs, Routed, RouterTraining
from wfm_cli.core.objectives.spectrogram_views import view
from wfm_cli.core.objectives.views import View, Views, gather
from wfm_cli.core.recipe.masks import AnyMask, MaskBlock
from wfm_cli.core.recipe.objectives import SpectroBlock
from wfm_cli.errors import RecipeError


class Spectro(Objective):
    """Masked spectrogram modelling, contrast, or both, of an LWM-Spectro encoder or a mixture of them.

    Every loss is a mean per sample, so that sums and counts add up over ranks and micro-batches: the mean squared error
    of a sample's hidden numbers, and its contrast with the others. Candidates of the contrast (and mean gates of a
    router) are those of one micro-batch on one device: keep that number when a recipe is moved to other devices.
    Hidden are the target tokens of any geometry; all others are visible, whatever its `context` says.

    `evaluate` gives `nmse`, squared error over power of the hidden numbers on the scale of the tokens, beside three
    references that need no training (`frames.fillings`), and, as shares, top-1 retrieval of the other view of a sample
    beside chance, and what a router does.
    """

    references = tuple(f"nmse_{name}" for name in NAMES)

    def __init__(self, block: SpectroBlock, masks: AnyMask, encoder: Encoder) -> None:
        if not isinstance(encoder, LWMSpectroEncoder | LWMSpectroMoE):
            raise RecipeError(
                f"objective 'spectro': model '{encoder.kind}' has no head that fills in spectrograms",
                "choose model.kind=lwm_spectro or lwm_spectro_moe",
            )
        super().__init__(encoder)
        self.encoder: LWMSpectroEncoder | LWMSpectroMoE
        self.block = block
        self.views = Views(_masks(masks), encoder)
        places = self.views.coords[-1] + 1
        self.sizes = int(places[0]), int(places[1])
        found = block.contrastive
        self.projection = None if found is None else Projection(encoder.embedding_dim(found.pooling), found.width)
        self.router = RouterTraining(block.routing, encoder) if isinstance(encoder, LWMSpectroMoE) else None
        self.label = None if self.router is None else block.routing.label

    def take_labels(self, labels: Tensor, classes: tuple[str, ...]) -> None:
        """See `Objective.take_labels`; they are the router's."""
        if self.router is not None:
            self.router.take_labels(labels, classes)

    def weights_at(self, progress: float) -> tuple[float, float]:
        """Weights of masked modelling and of the contrast at a progress of the training."""
        beside = 0.0 if self.block.contrastive is None else self.block.contrastive.weight
        if self.block.masked_first is None:
            return self.block.masked, beside
        return (self.block.masked, 0.0) if progress < self.block.masked_first else (0.0, beside)

    def forward(self, batch: Tensor, ids: Tensor, key: StepKey) -> LossParts:
        """See `Objective.forward`; the count is the number of samples."""
        count = torch.tensor(float(len(batch)), device=batch.device)
        masked, beside = self.weights_at(key.progress)
        grid = self.encoder.tokenize(batch)
        routed = self._routed(grid, ids, key)
        total, logs = batch.new_zeros(()), Logs()
        if routed is not None and self.router is not None:
            total, logs = self.router.loss(routed)
        if masked:
            errors, more = self._masked(grid, ids, key, routed)
            total = total + masked * errors.sum()
            logs |= {"loss_masked": (errors.detach().sum(), count), **more}
        if beside:
            found = self._contrast(batch, ids, key, routed)
            total = total + beside * found.loss.sum()
            chance = count.new_tensor(found.chance) * count
            logs |= {"loss_contrastive": (found.loss.detach().sum(), count)}
            logs |= {"retrieval": (found.hits.sum(), count), "retrieval_chance": (chance, count)}
            if routed is not None and self.router is not None:
                logs |= self.router.by_expert(routed, found.loss, "loss_contrastive")
        return LossParts(total + self._idle(masked, beside), count, logs)

    @torch.no_grad()
    def evaluate(self, batch: Tensor, ids: Tensor, key: StepKey) -> dict[str, Tensor]:
        """See the class."""
        grid = self.encoder.tokenize(batch)
        routed = self._routed(grid, ids, key)
        result = {}
        if self.block.masked:
            result = {name: batch.new_zeros(len(batch)) for name in ("nmse", *self.references)}
            for shown in self.views(ids, key):
                rows = _rows(shown, len(batch))
                part = grid.with_values(grid.values[rows])
                truth = gather(part.values, shown.target)
                power = truth.square().sum((1, 2)).clamp_min(torch.finfo(torch.float32).tiny)
                guesses = fillings(part.values, shown.target, self.sizes, self.encoder.patch)
                guess = self._fill(part, shown, ids[rows], key, _part(routed, rows))
                for name, values in zip(result, (guess, *guesses.values()), strict=True):
                    result[name][rows] = (values.float() - truth).square().sum((1, 2)) / power
        if self.block.contrastive is not None:
            found = self._contrast(batch, ids, key, routed)
            result |= {"share_retrieval": found.hits}
            result |= {"share_retrieval_chance": torch.full_like(found.hits, found.chance)}
        if routed is not None and self.router is not None:
            result |= self.router.figures(routed)
        return result

    def telemetry(self, values: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
        """See `Objective.telemetry`; of a mixture also `expert_entropy`, 0 if one expert does all, 1 if all do."""
        found = super().telemetry(values)
        shares = [share for name, share in found.items() if name.startswith("expert_")]
        if shares:
            entropy = -sum(share * math.log(share) for share in shares if share > 0)
            found["expert_entropy"] = entropy / math.log(len(shares))
        return found

    def after_step(self, step: int, total_steps: int) -> None:
        """Let an adaptive mixture of masks take in the step's loss."""
        if self.views.memory is not None:
            self.views.memory.fold()

    def weights(self) -> dict[str, Tensor]:
        """The encoder as `encoder.`, the projection head as `projection.`."""
        projection = {} if self.projection is None else self.projection.state_dict()
        return {**super().weights(), **{f"projection.{name}": value for name, value in projection.items()}}

    def _masked(self, grid: TokenGrid, ids: Tensor, key: StepKey, routed: Routed | None) -> tuple[Tensor, Logs]:
        """Mean squared error of every sample's hidden numbers, (B,), and logs."""
        errors, logs = grid.values.new_zeros(grid.batch), Logs()
        for shown in self.views(ids, key):
            rows = _rows(shown, grid.batch)
            part = grid.with_values(grid.values[rows])
            guess = self._fill(part, shown, ids[rows], key, _part(routed, rows)).float()
            found = (guess - gather(part.values, shown.target)).square().mean((1, 2))
            errors = errors.index_add(0, rows, found)
            number = found.new_tensor(float(len(found)))
            logs[f"loss_{shown.geometry}"] = (found.detach().sum(), number)
            if self.training and self.views.memory is not None:
                self.views.memory.add(shown.geometry, found.sum(), number)
        if routed is not None and self.router is not None:
            logs |= self.router.by_expert(routed, errors, "loss_masked")
        return errors, logs

    def _fill(self, grid: TokenGrid, shown: View, ids: Tensor, key: StepKey, routed: Routed | None) -> Tensor:
        """The model's numbers for hidden tokens: (b, K, P)."""
        values = corrupt(
            grid.values,
            shown.target,
            self.block.replace,
            self.encoder.mask_value,
            seed=key.seed,
            step=key.step,
            ids=ids,
        )
        return self.encoder.fill(grid.with_values(values), shown.target, **_way(routed))

    def _contrast(self, batch: Tensor, ids: Tensor, key: StepKey, routed: Routed | None) -> Contrast:
        """Two views of every sample through encoder and projection. A mixture sends both where the sample goes."""
        block, projection = self.block.contrastive, self.projection
        assert block is not None
        assert projection is not None
        images = batch.reshape(len(batch), *image_size(tuple(batch.shape[1:])))
        points = []
        for number in (0, 1):
            changed = view(images, ids, key.seed, key.step, number, block.views).view_as(batch)
            grid = self.encoder.tokenize(changed)
            hidden = self.encoder.encode(grid, **_way(routed))
            points.append(projection(self.encoder.pool(hidden, block.pooling, grid.coords)))
        return contrast(points[0], points[1], block.temperature, block.loss)

    def _routed(self, grid: TokenGrid, ids: Tensor, key: StepKey) -> Routed | None:
        """Where a mixture's samples go, judged by what they are before anything is hidden or changed."""
        if self.router is None or not isinstance(self.encoder, LWMSpectroMoE):
            return None
        return self.router.decide(self.encoder.route(grid), ids, key)

    def _idle(self, masked: float, beside: float) -> Tensor | float:
        """Zero, through the weights that this stage does not use: on all ranks their gradients are zero, not none."""
        idle: list[nn.Parameter] = [] if masked else self.encoder.head_parameters()
        if not beside and self.projection is not None:
            idle += list(self.projection.parameters())
        return _nothing(p for p in idle if p.requires_grad)


def _masks(masks: AnyMask) -> AnyMask:
    """The published masks of LWM-Spectro are random tokens, 70 %."""
    if not isinstance(masks, MaskBlock):
        return masks
    if masks.published_v11_seed:
        raise RecipeError(
            "masks.published_v11_seed: only LWM v1.1 was published with one mask for all samples", "remove it"
        )
    ratio = PUBLISHED_RATIO["spectro"] if masks.ratio is None else masks.ratio
    return masks.model_copy(update={"kind": "random", "ratio": ratio})


def _rows(shown: View, count: int) -> Tensor:
    return torch.arange(count, device=shown.target.device) if shown.rows is None else shown.rows


def _way(routed: Routed | None) -> dict[str, Any]:
    """What a mixture's calls take besides."""
    return {} if routed is None else {"routing": routed.routing}


def _part(routed: Routed | None, rows: Tensor) -> Routed | None:
    """The same samples' way to the experts."""
    if routed is None:
        return None
    target = None if routed.target is None else routed.target[rows]
    return Routed(routed.routing.part(rows), target, routed.warm)


def _nothing(parameters: Iterable[nn.Parameter]) -> Tensor | float:
    return sum((p.sum() * 0.0 for p in parameters), 0.0)
