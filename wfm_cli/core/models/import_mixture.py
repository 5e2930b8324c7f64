"""The official mixture checkpoint of LWM-Spectro (`moe_checkpoint.pth`, `checkpoints/checkpoint.pth`).

It is a dictionary with the router (`router_state_dict`), the head of the published task (`classifier_state_dict`), a
list `experts` of names and standards, and, where experts were tuned, their weights (`expert_state_dicts`). Where they
were not, the experts are the files `experts/*.pth` of the same publication.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wfm_cli.core.models import build_encoder
from wfm_cli.core.models.import_lwm import read_checkpoint, rename
from wfm_cli.core.recipe.models import LWMSpectroModel, LWMSpectroMoEModel
from wfm_cli.errors import InputError

_WRAPPERS = re.compile(r"^(?:(?:module|model|backbone)\.)+")
_HINT = "download the checkpoint again from its publisher (wi-lab/lwm-spectro on Hugging Face)"


@dataclass(frozen=True)
class Mixture:
    """What a mixture checkpoint holds, under our names."""

    block: LWMSpectroMoEModel
    weights: dict[str, Tensor]
    """They load strictly into the encoder of `block`."""
    classifier: dict[str, Tensor]
    """The head of the published task, under its own names."""
    info: dict[str, object]
    """Tensors, parameters, task, classes, where the experts came from."""


def is_mixture(loaded: object) -> bool:
    """Whether a checkpoint that has been read is one of a mixture."""
    return isinstance(loaded, Mapping) and "router_state_dict" in loaded and "experts" in loaded


def read_mixture(
    loaded: Mapping[str, Any], file: Path, folder: Path | None = None, heads: int | None = None
) -> Mixture:
    """Experts, router and head of a mixture checkpoint.

    Args:
        loaded: what `read_checkpoint` gave.
        file: where it came from.
        folder: of the experts' own files, where the checkpoint does not hold them; by default `experts` beside the
            file or beside its folder.
        heads: attention heads, where the width is not the published one.

    Raises:
        InputError: parts are missing or do not fit together; one line that names the part.
    """
    states = _expert_states(loaded, _entries(loaded, file), file, folder)
    experts, ignored = _renamed(states, file, heads)
    block = LWMSpectroMoEModel.model_validate(
        {
            "experts": dict.fromkeys(experts),
            "expert": next(iter(experts.values()))[0].model_dump(),
            "top": min(int(loaded.get("topk", 1)), 2),
            "router": {
                "norm": "batch",
                "dropout": float(loaded.get("dropout", 0.1)),
                "channels": _channels(loaded, file),
            },
        }
    )
    weights = {f"experts.{name}.{key}": v for name, (_, held) in experts.items() for key, v in held.items()}
    weights |= _router(loaded["router_state_dict"], file)
    _check(weights, block, file)
    classifier = {key.removeprefix("module."): v for key, v in dict(loaded.get("classifier_state_dict") or {}).items()}
    info: dict[str, object] = {
        "wiring": "spectro mixture",
        "tensors": len(weights),
        "parameters": sum(v.numel() for k, v in weights.items() if "running_" not in k and "num_batches" not in k),
        "experts": {name: str(source) for name, (_, source) in states.items()},
        "ignored_tensors": ignored,
        "task": loaded.get("task"),
        "classes": loaded.get("num_classes"),
    }
    return Mixture(block, weights, classifier, info)


def _renamed(
    states: Mapping[str, tuple[Mapping[str, Tensor], Path]], file: Path, heads: int | None
) -> tuple[dict[str, tuple[LWMSpectroModel, dict[str, Tensor]]], int]:
    """Block and weights of every expert under our names, and how many tensors of heads were left out."""
    experts: dict[str, tuple[LWMSpectroModel, dict[str, Tensor]]] = {}
    ignored = 0
    for name, (state, source) in states.items():
        official, left = _encoder_of(state, source)
        found, tensors, _ = rename(official, source, "spectro", heads)
        assert isinstance(found, LWMSpectroModel)
        experts[name], ignored = (found, tensors), ignored + left
    if len({found.model_dump_json() for found, _ in experts.values()}) > 1:
        raise InputError(f"{file}: its experts have different sizes", _HINT)
    return experts, ignored


def _entries(loaded: Mapping[str, Any], file: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Name of every expert, its standard in small letters where that tells it, and what the file says about it."""
    entries = loaded["experts"]
    if not isinstance(entries, Sequence) or len(entries) < 2 or not all(isinstance(e, Mapping) for e in entries):
        raise InputError(f"{file}: 'experts' is no list of two or more experts", _HINT)
    standards = [str(entry.get("comm", entry.get("name", ""))).lower() for entry in entries]
    standards = ["nr" if name == "5g" else name for name in standards]  # as the labels of our stores have it
    alone = len(set(standards)) == len(standards)
    names = standards if alone else [str(entry.get("name", "")).replace(".", "_") for entry in entries]
    if len(set(names)) < len(names) or not all(names):
        raise InputError(f"{file}: two of its experts have the same name", _HINT)
    return list(zip(names, entries, strict=True))


def _expert_states(
    loaded: Mapping[str, Any], entries: list[tuple[str, Mapping[str, Any]]], file: Path, folder: Path | None
) -> dict[str, tuple[Mapping[str, Tensor], Path]]:
    """State dict of every expert and the file that it stands in."""
    held = {
        str(entry.get("name")): entry.get("state_dict")
        for entry in loaded.get("expert_state_dicts") or ()
        if isinstance(entry, Mapping)
    }
    states: dict[str, tuple[Mapping[str, Tensor], Path]] = {}
    for name, entry in entries:
        state, source = held.get(str(entry.get("name"))), file
        if state is None:
            source = _expert_file(entry, file, folder)
            state = read_checkpoint(source)
        if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
            raise InputError(f"{source}: expert '{name}' is no state dict (names to tensors)", _HINT)
        states[name] = state, source
    return states


def _expert_file(entry: Mapping[str, Any], file: Path, folder: Path | None) -> Path:
    """The file of an expert whose weights are not in the checkpoint."""
    names = (Path(str(entry.get("checkpoint", ""))).name, f"{entry.get('comm')}_expert.pth")
    folders = (folder,) if folder else (file.parent / "experts", file.parent.parent / "experts", file.parent)
    for place in folders:
        for name in names:
            if name and (place / name).is_file() and (place / name) != file:
                return place / name
    raise InputError(
        f"{file}: it does not hold the weights of expert '{entry.get('name')}', nor is {names[1]} in "
        f"{' or '.join(str(place) for place in folders)}",
        "put the published folder experts beside it, or name it: --experts FOLDER",
    )


def _encoder_of(state: Mapping[str, Tensor], source: Path) -> tuple[dict[str, Tensor], int]:
    """The encoder's tensors without wrappers' prefixes, and how many others (heads) were left out."""
    if any("prompt" in key for key in state):
        raise InputError(f"{source}: an expert with prompts, which is another network", "use the published experts")
    inner = [key for key in state if "backbone." in key] or list(state)
    return {_WRAPPERS.sub("", key): state[key] for key in inner}, len(state) - len(inner)


def _channels(loaded: Mapping[str, Any], file: Path) -> tuple[int, ...]:
    router = {key.removeprefix("module."): v for key, v in loaded["router_state_dict"].items()}
    try:
        return tuple(router[f"features.{i}.weight"].shape[0] for i in (0, 3, 6, 9))
    except KeyError as error:
        raise InputError(f"{file}: tensor {error} of the router is missing", _HINT) from None


def _router(state: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """The router's tensors under our names: its convolutions keep theirs, the last linear layer is `scores`."""
    named: dict[str, Tensor] = {}
    for key, value in state.items():
        name = re.sub(r"^classifier\.\d+\.", "scores.", key.removeprefix("module."))
        named[f"router.{name}"] = value if value.dtype == torch.int64 else value.float()
    return named


def _check(weights: Mapping[str, Tensor], block: LWMSpectroMoEModel, file: Path) -> None:
    """Every tensor is there, has its shape and finite numbers, and none is left over."""
    rows, columns = block.expert.grid or (32, 32)
    with torch.device("meta"):
        template = build_encoder(block, (1, 4 * rows, 4 * columns)).state_dict()
    for key in sorted(template.keys() ^ weights.keys()):
        what = "is missing" if key in template else "is not part of the published network"
        raise InputError(f"{file}: tensor '{key}' {what}", _HINT)
    for key, value in weights.items():
        if value.shape != template[key].shape:
            found, needed = tuple(value.shape), tuple(template[key].shape)
            raise InputError(f"{file}: tensor '{key}' has shape {found}, the mixture needs {needed}", _HINT)
        if not bool(torch.isfinite(value).all()):
            raise InputError(f"{file}: tensor '{key}' holds numbers that are not finite", _HINT)
