"""Official LWM checkpoints: told apart, checked strictly, renamed to ours.

The files are pickles of CUDA tensors. They are opened with torch's restricted reader on the CPU, so a file that carries
code is refused. v1.1 and Spectro files come out of DataParallel and have a `module.` prefix, which is stripped.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor

from wfm_cli.core.models import build_encoder
from wfm_cli.core.models.lwm import WIRINGS
from wfm_cli.core.recipe.models import LWMModel, LWMSpectroModel
from wfm_cli.errors import InputError

_LFS = b"version https://git-lfs"
_HINT = "download the checkpoint again from its publisher (wi-lab on Hugging Face)"


def load_official(
    path: str | Path, *, wiring: str | None = None, heads: int | None = None
) -> tuple[LWMModel | LWMSpectroModel, dict[str, Tensor], dict[str, object]]:
    """Read an official LWM v1.0, v1.1 or Spectro encoder checkpoint.

    Denormal numbers (17 % of the published v1.0 weights) are replaced by zeros: they are below 1.2e-38 and do not
    change any output, but make some processors several times slower.

    Args:
        path: the `.pth` file.
        wiring: `v1.0`, `v1.1` or `spectro`; by default told from keys and shapes.
        heads: number of attention heads; by default the published one, which is only taken at the published width.

    Returns:
        The recipe block with all sizes, the weights under our names (they load strictly into its encoder), and facts
        about the file: sha256, bytes, wiring, tensors, parameters, denormals_zeroed.

    Raises:
        InputError: missing file, Git LFS pointer, damaged or unsafe pickle, or a state dict that is not exactly that of
            one of the three networks (the first offending key is named).
    """
    file = Path(path)
    raw = _read(file)
    official = {key.removeprefix("module."): value for key, value in raw.items()}
    name = _tell_wiring(official, file, wiring)
    block, state, zeroed = rename(official, file, name, heads)
    info: dict[str, object] = {
        **file_facts(file),
        "wiring": name,
        "tensors": len(official),
        "parameters": sum(value.numel() for value in official.values()),
        "denormals_zeroed": zeroed,
    }
    return block, state, info


def rename(
    official: Mapping[str, Tensor], file: Path, wiring: str, heads: int | None = None
) -> tuple[LWMModel | LWMSpectroModel, dict[str, Tensor], int]:
    """Official tensors of one encoder, without prefixes: its block, our tensors, and how many denormals were zeroed.

    Raises:
        InputError: they are not exactly those of a network of this wiring.
    """
    block = _block(official, file, wiring, heads)
    names = _names(wiring, block.layers or 0)
    _check_keys(official, names, file)
    _check_values(official, names, block, file)
    zeroed = 0
    state: dict[str, Tensor] = {}
    for ours, sources in names.items():
        value = torch.cat([official[source] for source in sources]).to(torch.float32)
        tiny = (value != 0) & (value.abs() < torch.finfo(torch.float32).tiny)
        zeroed += int(tiny.sum())
        state[ours] = value.masked_fill(tiny, 0.0)
    return block, state, zeroed


def _read(file: Path) -> Mapping[str, Tensor]:
    """The file's state dict, opened without running any code in it."""
    loaded = read_checkpoint(file)
    if not isinstance(loaded, Mapping) or not loaded or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise InputError(f"{file}: not a state dict (names to tensors)", "use a file with a plain state dict")
    return loaded


def read_checkpoint(file: Path) -> object:
    """Whatever a `.pth` file of tensors and plain values holds, on the CPU, opened without running any code in it.

    Raises:
        InputError: missing file, Git LFS pointer, damaged or unsafe pickle.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such checkpoint file", "name the .pth file of an official LWM checkpoint")
    with file.open("rb") as stream:
        start = stream.read(len(_LFS))
    if start == _LFS:
        raise InputError(f"{file}: a Git LFS pointer, not the checkpoint itself", _HINT)
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's remarks about foreign pickles are not for users
            return torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, KeyError, IndexError) as error:
        if isinstance(error, pickle.UnpicklingError) and start.startswith((b"PK", b"\x80")):
            raise InputError(
                f"{file}: refused, because it holds something else than tensors", "use a file with a plain state dict"
            ) from error
        raise InputError(f"{file}: not a readable checkpoint, damaged or cut short", _HINT) from error


def _tell_wiring(official: Mapping[str, Tensor], file: Path, wiring: str | None) -> str:
    """Key names tell v1.0; only element length and position rows tell v1.1 from Spectro."""
    if wiring is not None:
        if wiring not in WIRINGS:
            raise InputError(f"unknown LWM wiring '{wiring}'", f"choose one of: {', '.join(WIRINGS)}")
        return wiring
    if "layers.0.norm.alpha" in official:
        return "v1.0"
    bias, position = official.get("decoder_bias"), official.get("embedding.pos_embed.weight")
    if bias is None or position is None or "layers.0.norm1.alpha" not in official:
        raise InputError(
            f"{file}: not an LWM checkpoint (its first keys are {', '.join(list(official)[:3])})",
            "LWM v1.0, v1.1 and Spectro encoders can be imported",
        )
    for name in ("v1.1", "spectro"):
        if (bias.shape[0], position.shape[0]) == (WIRINGS[name].element, WIRINGS[name].rows):
            return name
    raise InputError(
        f"{file}: {bias.shape[0]} numbers per token and {position.shape[0]} positions are neither LWM v1.1 (32, 513) "
        "nor Spectro (16, 1025), whose keys are the same",
        "say which residual wiring it was trained with: --wiring v1.1 or --wiring spectro",
    )


def _block(official: Mapping[str, Tensor], file: Path, name: str, heads: int | None) -> LWMModel | LWMSpectroModel:
    """The recipe block with the sizes of the tensors."""
    sizes = {}
    wanted = {
        "width": "embedding.proj.weight",
        "ffn": "layers.0.pos_ffn.fc1.weight",
        "max_tokens": "embedding.pos_embed.weight",
        "inner": "layers.0.enc_self_attn.W_Q.weight",
    }
    for size, key in wanted.items():
        if key not in official or official[key].ndim != 2:
            raise InputError(f"{file}: tensor '{key}' is missing or no matrix", _HINT)
        sizes[size] = official[key].shape[0]
    inner, width = sizes.pop("inner"), sizes["width"]
    if heads is None and width != WIRINGS[name].width:
        raise InputError(
            f"{file}: the number of heads cannot be told from a file of width {width}", "name it: --heads NUMBER"
        )
    heads = heads or WIRINGS[name].heads
    if width // heads * heads != inner:
        raise InputError(
            f"{file}: {heads} heads of {width // heads} do not make the {inner} rows of W_Q",
            "name another: --heads NUMBER",
        )
    layers = {int(match[1]) for key in official if (match := re.match(r"layers\.(\d+)\.", key))}
    shared = {"layers": len(layers), "heads": heads, "width": width, "ffn": sizes["ffn"]}
    try:
        if name == "spectro":
            grid = _grid(sizes["max_tokens"] - 1)
            return LWMSpectroModel.model_validate({"grid": grid, **shared})
        return LWMModel.model_validate({"wiring": name, "max_tokens": sizes["max_tokens"], **shared})
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"{file}: {first['loc'][0]} {first['input']} is out of range: {first['msg']}", _HINT
        ) from error


def _grid(places: int) -> tuple[int, int]:
    """Rows and columns of so many places, as square as can be: 32 x 32 for the published 1,024."""
    rows = next(n for n in range(int(max(places, 1) ** 0.5), 0, -1) if places % n == 0)
    return rows, places // rows


def _names(wiring: str, layers: int) -> dict[str, tuple[str, ...]]:
    """Our parameter names and the official tensors that each is made of, stacked along the first axis."""
    names: dict[str, tuple[str, ...]] = {"embedding.position": ("embedding.pos_embed.weight",)}

    def pair(ours: str, official: str, first: str = "weight") -> None:
        names[f"{ours}.{first}"] = (f"{official}.{first}",)
        names[f"{ours}.bias"] = (f"{official}.bias",)

    pair("embedding.proj", "embedding.proj")
    pair("embedding.norm", "embedding.norm", "alpha")
    for i in range(layers):
        ours, theirs = f"blocks.{i}", f"layers.{i}"
        for kind in ("weight", "bias"):
            names[f"{ours}.attention.qkv.{kind}"] = tuple(f"{theirs}.enc_self_attn.W_{c}.{kind}" for c in "QKV")
        pair(f"{ours}.attention.out", f"{theirs}.enc_self_attn.linear")
        pair(f"{ours}.ffn.fc1", f"{theirs}.pos_ffn.fc1")
        pair(f"{ours}.ffn.fc2", f"{theirs}.pos_ffn.fc2")
        if wiring == "v1.0":
            pair(f"{ours}.norm1", f"{theirs}.norm", "alpha")
            pair(f"{ours}.stored_norms.0", f"{theirs}.enc_self_attn.norm", "alpha")
            pair(f"{ours}.stored_norms.1", f"{theirs}.pos_ffn.norm", "alpha")
        else:
            pair(f"{ours}.norm1", f"{theirs}.norm1", "alpha")
            pair(f"{ours}.norm2", f"{theirs}.norm2", "alpha")
    pair("head.dense", "linear")
    pair("head.norm", "norm", "alpha")
    names["head.decoder.weight"] = ("decoder.weight",)
    names["head.decoder.bias"] = ("decoder_bias",)
    return names


def _check_keys(official: Mapping[str, Tensor], names: Mapping[str, tuple[str, ...]], file: Path) -> None:
    """Every official tensor is used, and every one needed is there."""
    needed = {source for sources in names.values() for source in sources}
    for key in sorted(needed - set(official)):
        raise InputError(f"{file}: tensor '{key}' is missing", _HINT)
    for key in sorted(set(official) - needed):
        raise InputError(
            f"{file}: unexpected tensor '{key}'", "import the encoder's own checkpoint, without extra heads"
        )


def _check_values(
    official: Mapping[str, Tensor],
    names: Mapping[str, tuple[str, ...]],
    block: LWMModel | LWMSpectroModel,
    file: Path,
) -> None:
    """Every tensor has the shape that the network needs, and finite numbers."""
    shape, title = ((4, 16, 2), block.wiring) if isinstance(block, LWMModel) else ((4, 4), "Spectro")
    with torch.device("meta"):
        template = build_encoder(block, shape).state_dict()
    for ours, sources in names.items():
        rows, *rest = template[ours].shape
        for key in sources:
            found, needed = tuple(official[key].shape), (rows // len(sources), *rest)
            if found != needed:
                raise InputError(f"{file}: tensor '{key}' has shape {found}, LWM {title} needs {needed}", _HINT)
            if not bool(torch.isfinite(official[key]).all()):
                raise InputError(f"{file}: tensor '{key}' holds numbers that are not finite", _HINT)


def file_facts(file: Path) -> dict[str, object]:
    """SHA-256 and bytes of a file."""
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"sha256": sha256, "bytes": file.stat().st_size}
