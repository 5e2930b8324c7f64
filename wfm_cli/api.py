"""The functions behind the commands, for use from Python. Both call the same code, so they cannot differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from wfm_cli.core.models.base import Encoder
    from wfm_cli.core.store.reader import Store
    from wfm_cli.core.store.run import Run

PathLike = str | Path


def open_store(path: PathLike) -> Store:
    """Open a finished store for reading.

    Raises:
        StoreError: It is unfinished, damaged or no store.
    """
    from wfm_cli.core.store.reader import open_store as open_

    return open_(Path(path))


def load_encoder(path: PathLike) -> Encoder:
    """The encoder of a pretrain or import run, with its weights, in evaluation mode.

    Raises:
        StoreError: There is no run with weights at `path`.
    """
    from wfm_cli.core.evaluation.encoders import load_encoder as load

    return load(Path(path))


def embed(
    encoder: str, data: PathLike | Store, *, indices: Iterable[int] | None = None, array: str | None = None
) -> NDArray[np.float32]:
    """Embed samples of a store with a frozen encoder.

    Args:
        encoder: A run, `random:RECIPE` or `baseline:NAME`; `@POOLING` may follow.
        data: Store, or its path.
        indices: Samples, or windows of an encoder that takes windows of frames; all by default.
        array: Array of the store that is the input; the one that the encoder was trained on if left out.

    Returns:
        float32 (samples, dimension).

    Raises:
        InputError: The encoder does not exist or does not fit the data.
    """
    from wfm_cli.core.evaluation.encoders import resolve
    from wfm_cli.core.evaluation.features import extract

    store = open_store(data) if isinstance(data, str | Path) else data
    source = resolve(encoder, store, array=array)
    count = store.array(source.arrays[0]).shape[0] if source.arrays else store.samples
    wanted = np.arange(count) if indices is None else np.asarray(list(indices), dtype=np.int64)
    return extract(source, store, wanted)


def pretrain(
    recipe: PathLike, out: PathLike, *, overrides: Sequence[str] = (), devices: int = 1, resume: bool = False
) -> dict[str, Any] | None:
    """Pretrain an encoder.

    Args:
        recipe: Recipe file, or the name of a shipped one.
        out: Folder of the run.
        overrides: `key.path=value` expressions.
        devices: Processes that share every batch; more than one re-executes the command under torchrun.
        resume: Continue the run in `out`.

    Returns:
        The summary of the run; None when the work was done by the processes of `devices`.

    Raises:
        RecipeError: The recipe is wrong.
        InputError: `out` is not empty, or the store does not fit.
    """
    from wfm_cli.core.recipe.loading import load_recipe
    from wfm_cli.core.recipe.pretrain import PretrainRecipe
    from wfm_cli.core.training import engine, launch

    checked = load_recipe(recipe, PretrainRecipe, overrides)
    if devices > 1 and not launch.inside():
        arguments = ["pretrain", str(recipe), "--out", str(out), *(["--resume"] if resume else [])]
        launch.launch([*arguments, *(part for item in overrides for part in ("--set", item))], devices)
        return None
    return engine.pretrain(checked, Path(out), resume=resume)


def probe(
    encoder: str,
    data: PathLike,
    *,
    tasks: Sequence[str],
    out: PathLike,
    labels: Sequence[int | Literal["all"] | str] | None = None,
    seeds: int = 5,
    split: str | None = None,
    probe: str | None = None,
    resume: bool = False,
) -> Run:
    """Measure one frozen encoder with a strict probe.

    Args:
        encoder: A run, `random:RECIPE` or `baseline:NAME`; `@POOLING` may follow.
        data: Store.
        tasks: Names of tasks, such as `los` or `beam_64`.
        out: Folder of the run that takes the results.
        labels: Label budgets: numbers, `5 per class`, or `all`.
        seeds: Independent draws of every budget.
        split: Split of the store; its default if left out.
        probe: `linear`, `logistic`, `ridge`, `knn`, `attentive`, `res1dcnn`, `finetune`, `lora`, `full`, `scratch`,
            `cnn` or `resnet18`; by default `linear`, the strict probe of the task.
        resume: Keep the finished units in `out` and do the others.

    Returns:
        The run; its units hold metrics and predictions.

    Raises:
        InputError: Encoder, store, task or budget do not fit.
    """
    from wfm_cli.core.evaluation.probing import run_probe
    from wfm_cli.core.recipe.evaluate import ProbeRecipe
    from wfm_cli.core.recipe.loading import parse_recipe
    from wfm_cli.core.store.run import Run

    block: dict[str, Any] = {"seeds": seeds, "split": split, "kind": probe}
    if labels:
        block["labels"] = list(labels)
    data_ = {"name": Path(out).stem, "encoder": encoder, "data": str(data), "tasks": list(tasks), "probe": block}
    run_probe(parse_recipe(data_, ProbeRecipe, "probe"), Path(out), resume=resume)
    return Run.open(out)


def benchmark(
    suite: PathLike,
    out: PathLike,
    *,
    overrides: Sequence[str] = (),
    encoders: Sequence[str] | None = None,
    resume: bool = False,
    workers: int = 1,
) -> Run:
    """Run a suite of encoders, tasks and label budgets, baselines included.

    Args:
        suite: Recipe file, or the name of a shipped suite.
        out: Folder of the run that takes the results.
        overrides: `key.path=value` expressions.
        encoders: Encoders in place of the suite's own.
        resume: Keep the finished units in `out` and do the others.
        workers: Processes that share the rows of the table.

    Returns:
        The run; render it with `wfm report`.

    Raises:
        RecipeError: The suite is wrong.
        InputError: An encoder or task does not fit the store.
    """
    from wfm_cli.core.evaluation.benchmarking import run_benchmark
    from wfm_cli.core.recipe.evaluate import BenchmarkRecipe
    from wfm_cli.core.recipe.loading import load_recipe
    from wfm_cli.core.store.run import Run

    recipe = load_recipe(suite, BenchmarkRecipe, overrides)
    if encoders:
        rows = [{"encoder": spec} for spec in encoders]
        recipe = BenchmarkRecipe.model_validate({**recipe.model_dump(), "encoders": rows})
    run_benchmark(recipe, Path(out), resume=resume, workers=workers)
    return Run.open(out)
