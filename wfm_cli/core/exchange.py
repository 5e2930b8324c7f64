"""Weights in and out of runs: official checkpoints become runs, runs become safetensors folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from wfm_cli.core.provenance import digest
from wfm_cli.core.recipe.loading import to_dict
from wfm_cli.core.recipe.models import LWMModel, LWMSpectroModel, LWMSpectroMoEModel
from wfm_cli.core.store.run import Run, refuse_non_empty, replacing


def import_lwm(
    file: Path, out: Path, *, wiring: str | None = None, heads: int | None = None, experts: Path | None = None
) -> dict[str, Any]:
    """Make an import run of an official checkpoint of the LWM family.

    Args:
        file: Checkpoint as published; opened without executing anything in it.
        out: Folder of the run; must be free or empty.
        wiring: `v1.0`, `v1.1` or `spectro`; told from keys and shapes by default.
        heads: Attention heads; the published number by default.
        experts: Folder with the experts of a Spectro mixture that does not hold them; `experts` beside it by default.

    Returns:
        Wiring, number of parameters, size and SHA-256 of the file.

    Raises:
        InputError: The file is no checkpoint of the family, or `out` is not empty.
    """
    from wfm_cli.core.models import build_encoder
    from wfm_cli.core.models.import_lwm import file_facts, load_official, read_checkpoint
    from wfm_cli.core.models.import_mixture import is_mixture, read_mixture

    refuse_non_empty(out)
    loaded = read_checkpoint(file)
    more: dict[str, Any] = {}
    block: LWMModel | LWMSpectroModel | LWMSpectroMoEModel
    if is_mixture(loaded):
        mixture = read_mixture(cast(Mapping[str, Any], loaded), file, experts, heads)
        block, tensors, info = mixture.block, mixture.weights, {**file_facts(file), **mixture.info}
        more = {f"classifier.{name}": value for name, value in mixture.classifier.items()}
    else:
        block, tensors, info = load_official(file, wiring=wiring, heads=heads)
    shape = official_shape(block)
    build_encoder(block, shape).load_state_dict(tensors)
    array, scale = ("channel", "published") if isinstance(block, LWMModel) else ("spectrogram", None)
    attrs = {"model": to_dict(block), "sample_shape": list(shape), "array": array, "normalise": scale}
    run = Run.create(out, "import", {"step": "import", "source": info}, {**attrs, "source": info})
    run.save_weights({**{f"encoder.{name}": value for name, value in tensors.items()}, **more}, "last")
    run.set_attrs(status="complete", complete=True)
    return info


def official_shape(block: LWMModel | LWMSpectroModel | LWMSpectroMoEModel) -> tuple[int, ...]:
    """Shape of one sample that the published model was trained on; of other sizes, what its position table covers."""
    if isinstance(block, LWMModel):
        return (32, 32, 2)
    expert = block.expert if isinstance(block, LWMSpectroMoEModel) else block
    rows, columns = expert.grid or (32, 32)
    return (1, 4 * rows, 4 * columns)


def export_run(path: Path, out: Path, which: str | None = None) -> list[Path]:
    """Write `model.safetensors`, `config.json` and `README.md` into the new folder `out`.

    Args:
        path: Pretrain or import run.
        out: Folder; must be free or empty.
        which: `best` or `last`; the best by default.

    Returns:
        The files.

    Raises:
        StoreError: The run has no weights.
        InputError: `out` is not empty.
    """
    from safetensors.torch import save_file

    run = Run.open(path)
    tensors = run.load_weights(which)
    refuse_non_empty(out)
    config = {key: run.attrs.get(key) for key in ("model", "sample_shape", "array", "normalise")}
    config["recipe_sha256"] = digest(run.attrs["recipe"])
    config["wfm"] = run.attrs["versions"]["wfm-toolkit"]
    parameters = sum(t.numel() for t in tensors.values())
    with replacing(out) as folder:
        folder.mkdir(parents=True)
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (folder / "README.md").write_text(_card(run, config, parameters), encoding="utf-8")
    return [out / name for name in ("model.safetensors", "config.json", "README.md")]


def _card(run: Run, config: dict[str, Any], parameters: int) -> str:
    """Model card from what the run knows; nothing is claimed that it does not hold."""
    model = config["model"] or {}
    lines = [
        "---",
        "library_name: wfm-toolkit",
        "tags: [wireless, channel-state-information, self-supervised]",
        "---",
        f"# {run.attrs['recipe'].get('name') or run.path.stem}",
        "",
        f"{model.get('kind', 'encoder')} {model.get('wiring', '')} with {parameters:,} parameters (heads included), "
        f"from a {run.kind} run of wfm {config['wfm']}.",
        "",
        "| | |",
        "| --- | --- |",
        f"| input | {config['array']}, shape {config['sample_shape']}"
        f"{' (last axis re, im)' if config['array'] == 'channel' else ''} |",
        f"| scale | `{config['normalise']}` |",
        f"| recipe sha256 | `{config['recipe_sha256']}` |",
    ]
    lines += [f"| source sha256 | `{run.attrs['source']['sha256']}` |"] if "source" in run.attrs else []
    if run.has_unit("validation"):
        lines += ["", "## Validation", "", "```json", json.dumps(run.unit("validation").attrs, indent=2), "```"]
    lines += ["", "## Recipe", "", "```json", json.dumps(run.attrs["recipe"], indent=2), "```", ""]
    return "\n".join(lines)
