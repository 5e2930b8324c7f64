"""From a name to features: `RUN.zarr[@pooling]`, `random:RECIPE[@pooling]` and `baseline:NAME`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from wfm_cli.core.evaluation.baselines import BaselineSource
from wfm_cli.core.evaluation.source import FeatureSource
from wfm_cli.core.models import build_encoder, with_statistics
from wfm_cli.core.models.bundle import Bundle
from wfm_cli.core.provenance import digest
from wfm_cli.core.recipe.models import ModelBlock
from wfm_cli.core.recipe.msac import JEPAMSACModel
from wfm_cli.core.signal.power import normalise_power
from wfm_cli.core.store.run import Run
from wfm_cli.core.store.sequences import INDEX, WindowRows
from wfm_cli.errors import InputError, RecipeError, StoreError

if TYPE_CHECKING:
    from wfm_cli.core.models.base import Encoder
    from wfm_cli.core.store.reader import Store
    from wfm_cli.core.store.rows import RowReader

AMPLITUDE = {"raw": 1.0, "published": 1e6}
"""Factor on path gains of the scalings that differ by a factor alone."""
BASELINE = "baseline:"
RANDOM = "random:"


def resolve(spec: str, store: Store, *, array: str | None = None, seed: int = 0, device: str = "cpu") -> FeatureSource:
    """The feature source that a name stands for, fitted to the samples of a store.

    Args:
        spec: `RUN.zarr[@pooling]`, `random:RECIPE[@pooling]` (a pretrain recipe, or a run whose architecture is taken)
            or `baseline:NAME`.
        store: Where the samples come from.
        array: Array of the store; the one that the run was trained on, or `channel`, if left out.
        seed: Seed of the weights of `random:`.
        device: Where an encoder computes.

    Raises:
        InputError: No such encoder, or it cannot take these samples; one line that says why.
    """
    if spec.startswith(BASELINE):
        return BaselineSource(spec.removeprefix(BASELINE), store, array or store.input)
    where, pooling = split_pooling(spec.removeprefix(RANDOM))
    if spec.startswith(RANDOM):
        block, trained = _untrained(where)
        block = with_statistics(block, store.attrs.get("statistics", {}).get(array or trained.array))
    else:
        run = Run.open(where)
        trained, block = _input(run), _block(run)
    array = array or trained.array
    shape = _sample_shape(store, array)
    untrained = Untrained(block, shape, tuple(store.spec(array).dims), spec, store)
    encoder = untrained(seed) if spec.startswith(RANDOM) else load_encoder(where, shape, store)
    factor = scaling(spec, trained.normalise, store, array)
    return ModelSource(encoder.to(device), spec, pooling, array, factor, untrained)


def split_pooling(spec: str) -> tuple[str, str | None]:
    """`RUN.zarr@cls` as ("RUN.zarr", "cls"); an @ inside a folder name is none of our business."""
    where, at, pooling = spec.rpartition("@")
    return (where, pooling) if at and pooling and "/" not in pooling else (spec, None)


def load_encoder(path: Path | str, sample_shape: tuple[int, ...] | None = None, store: Store | None = None) -> Encoder:
    """The encoder of a pretrain or import run, with its weights, in evaluation mode.

    Args:
        path: The run.
        sample_shape: Shape of the samples to come, if not that of the run's own.
        store: Named in errors.

    Raises:
        StoreError: No run with weights at `path`.
        InputError: The encoder cannot take samples of this shape.
    """
    run = Run.open(path)
    trained, tensors = _input(run), run.load_weights()
    weights = {name.removeprefix("encoder."): t for name, t in tensors.items() if name.startswith("encoder.")}
    encoder = _build(_block(run), sample_shape or trained.sample_shape, str(path), store, 0)
    try:
        encoder.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        where = f" on {store.path}" if store else ""
        raise InputError(
            f"{path}: its weights do not fit{where} ({reason})", "prepare samples of the trained shape"
        ) from None
    return encoder.eval()


class Untrained(NamedTuple):
    """Makes encoders of one architecture with fresh weights."""

    block: ModelBlock
    sample_shape: tuple[int, ...]
    dims: tuple[str, ...]
    """Axes of the store's array."""
    spec: str
    """Named in errors."""
    store: Store | None
    """Named in errors."""

    def __call__(self, seed: int) -> Encoder:
        """An encoder with the weights of `seed`, in evaluation mode."""
        return _build(self.block, self.sample_shape, self.spec, self.store, seed, self.dims)


class ModelSource(FeatureSource):
    """Embeddings of an encoder, in evaluation mode and float32.

    Attributes:
        encoder: the encoder; whoever changes its weights copies it first.
        untrained: makes encoders of the same architecture.
        weights: SHA-256 of weights and scaling, the same for all poolings.
        architecture: SHA-256 of the model block, the shape and scaling of the samples.
    """

    dear = True

    def __init__(
        self,
        encoder: Encoder,
        spec: str,
        pooling: str | None,
        array: str,
        factor: float | None,
        untrained: Untrained,
    ) -> None:
        self.pooling = pooling or encoder.default_pooling
        if self.pooling not in encoder.poolings:
            raise InputError(f"{spec}: there is no pooling {self.pooling}", f"one of {', '.join(encoder.poolings)}")
        random = spec.startswith(RANDOM)
        self.spec, self.role, self.arrays = spec, "control" if random else "encoder", (array,)
        self.dim = encoder.embedding_dim(self.pooling)
        name = Path(split_pooling(spec.removeprefix(RANDOM))[0]).stem
        self.name = f"{name}{' untrained' if random else ''} ({self.pooling})"
        self.encoder, self.untrained, self._factor = encoder.eval(), untrained, factor
        self.device = next(iter(encoder.parameters())).device
        held = weights_digest(encoder)
        self.digest, self.weights = digest([held, self.pooling, factor]), digest([held, array, factor])
        self.architecture = digest([untrained.block.model_dump(mode="json"), untrained.sample_shape, array, factor])

    def reader(self, store: Store, array: str) -> RowReader:
        """Windows with the sensors of the encoder, or the rows of an array."""
        block = self.untrained.block
        if array != INDEX or not isinstance(block, JEPAMSACModel):
            return store.rows(array)
        return WindowRows(store, block.modalities, linear_power=block.power_unit == "linear")

    def prepare(self, batch: NDArray[Any]) -> Tensor:
        """Rows (B, ...) as the store holds them as the encoder takes them, (B, *sample_shape) on its device."""
        if self._factor is None:
            batch = normalise_power(batch)
        values = torch.from_numpy(np.ascontiguousarray(batch))
        values = torch.view_as_real(values) if values.is_complex() else values
        values = values.to(self.device, torch.float32)
        return values if self._factor is None or self._factor == 1 else values * self._factor

    def extract(self, batch: NDArray[Any], *more: NDArray[Any]) -> NDArray[np.float32]:
        """Embeddings (B, D) of rows (B, ...) as the store holds them."""
        return self.extract_all((self.pooling,), batch)[0]

    def extract_all(
        self, poolings: Sequence[str], batch: NDArray[Any], *more: NDArray[Any]
    ) -> list[NDArray[np.float32]]:
        """Embeddings (B, D) of each of several poolings, all from one pass through the encoder."""
        with torch.inference_mode():
            if batch.dtype.names:  # windows, of which the history is embedded
                parts = {name: torch.from_numpy(batch[name]).to(self.device) for name in batch.dtype.names}
                windows: Any = Bundle(parts)
                return [self.encoder.embed(windows, pooling).float().cpu().numpy() for pooling in poolings]
            tokens = self.encoder.tokenize(self.prepare(batch))
            hidden = self.encoder.encode(tokens)
            return [self.encoder.pool(hidden, pooling, tokens.coords).float().cpu().numpy() for pooling in poolings]


def scaling(spec: str, wanted: str | None, store: Store, array: str) -> float | None:
    """Factor that brings a store's samples to the scale an encoder was trained on; None for unit power per sample.

    Raises:
        InputError: The store was normalised per sample and has lost the scale.
    """
    held = store.spec(array).attrs.get("normalise", store.attrs.get("normalise"))
    if wanted is None or held is None or wanted == held:
        return 1.0
    if wanted == "power":
        return None
    if wanted in AMPLITUDE and held in AMPLITUDE:
        return AMPLITUDE[wanted] / AMPLITUDE[held]
    raise InputError(
        f"{store.path}: {array} is normalised '{held}', {spec} was trained on '{wanted}'",
        f"prepare the store with source.normalise={wanted}",
    )


class Input(NamedTuple):
    """What an encoder was trained on."""

    sample_shape: tuple[int, ...]
    array: str
    normalise: str | None


def _input(run: Run) -> Input:
    """What a run with weights says about its input."""
    if "sample_shape" not in run.attrs:
        raise StoreError(f"{run.path}: a {run.kind} run holds no encoder", "give a pretrain or import run")
    attrs = run.attrs
    return Input(tuple(attrs["sample_shape"]), attrs.get("array") or "channel", attrs.get("normalise"))


def _block(run: Run) -> ModelBlock:
    try:
        block: ModelBlock = TypeAdapter(ModelBlock).validate_python(run.attrs["model"])
    except (KeyError, ValidationError):
        raise StoreError(f"{run.path}: its model is not known to this wfm", "update wfm-toolkit") from None
    return block


def model_block(where: str) -> ModelBlock:
    """Model block of a run with weights, or of a pretrain recipe.

    Raises:
        InputError: there is no such recipe.
        StoreError: the run holds no encoder.
    """
    return _untrained(where)[0]


def _untrained(where: str) -> tuple[ModelBlock, Input]:
    """Model block and input of a run or of a pretrain recipe."""
    if (Path(where) / "zarr.json").is_file():
        run = Run.open(where)
        return _block(run), _input(run)
    from wfm_cli.core.recipe.loading import load_recipe
    from wfm_cli.core.recipe.pretrain import PretrainRecipe

    try:
        recipe = load_recipe(where, PretrainRecipe)
    except RecipeError as error:
        raise InputError(f"{RANDOM}{where}: {error.message}", error.hint) from None
    return recipe.model, Input((), recipe.data.array, None)


def _sample_shape(store: Store, array: str) -> tuple[int, ...]:
    """Shape of one sample as an encoder sees it: complex numbers become a last axis [re, im]."""
    if array not in store.names:
        raise InputError(f"{store.path}: it has no array {array}", f"its arrays: {', '.join(store.names)}")
    spec = store.spec(array)
    return (*spec.shape, 2) if spec.dtype.startswith("complex") else tuple(spec.shape)


def _build(
    block: ModelBlock,
    shape: tuple[int, ...],
    spec: str,
    store: Store | None,
    seed: int,
    dims: tuple[str, ...] | None = None,
) -> Encoder:
    """A fresh encoder; the global generator is left as it was."""
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build_encoder(block, shape, dims).eval()
    except InputError as error:
        where = f" on {store.path}" if store else ""
        raise InputError(f"{spec}{where}: {error.message}", error.hint) from None


def weights_digest(encoder: nn.Module) -> str:
    """SHA-256 over the names and values of all weights and buffers."""
    state = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        state.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        state.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()
