"""MobileNetV3-Small without its classifier, as Table 2 of arXiv 1905.02244 lays it out, on torch alone.

The packages that hold this network come with a torch of their own choice; a table of eleven blocks does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wfm_cli.errors import InputError

FEATURES = 576
"""Channels of the last layer."""
RANDOM = "random"
STEM = 16


class Row(NamedTuple):
    """A bottleneck: kernel, expanded and outgoing channels, squeeze and excite, hard swish or ReLU, stride."""

    kernel: int
    expanded: int
    out: int
    excite: bool
    hard: bool
    stride: int


ROWS = (
    Row(3, 16, 16, True, False, 2),
    Row(3, 72, 24, False, False, 2), Row(3, 88, 24, False, False, 1),
    Row(5, 96, 40, True, True, 2), Row(5, 240, 40, True, True, 1), Row(5, 240, 40, True, True, 1),
    Row(5, 120, 48, True, True, 1), Row(5, 144, 48, True, True, 1),
    Row(5, 288, 96, True, True, 2), Row(5, 576, 96, True, True, 1), Row(5, 576, 96, True, True, 1),
)  # fmt: skip
"""Table 2 between the first and the last convolution."""


class _Layer(nn.Module):
    """Convolution, batch norm, activation."""

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1, act: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out, eps=1e-3)
        self.act = act or nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        made: Tensor = self.act(self.norm(self.conv(maps)))
        return made


class _Excite(nn.Module):
    """Squeeze and excite: channels are weighted by what all places together say."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, _eighths(channels // 4), 1)
        self.widen = nn.Conv2d(_eighths(channels // 4), channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        made: Tensor = maps * F.hardsigmoid(self.widen(F.relu(self.reduce(self.pool(maps)))))
        return made


class _Bottleneck(nn.Module):
    def __init__(self, channels: int, row: Row) -> None:
        super().__init__()
        act = nn.Hardswish if row.hard else nn.ReLU
        widened = row.expanded != channels
        self.expand = _Layer(channels, row.expanded, 1, act=act()) if widened else nn.Identity()
        self.depthwise = _Layer(row.expanded, row.expanded, row.kernel, row.stride, row.expanded, act())
        self.excite = _Excite(row.expanded) if row.excite else nn.Identity()
        self.project = _Layer(row.expanded, row.out, 1)
        self.residual = row.stride == 1 and channels == row.out

    def forward(self, maps: Tensor) -> Tensor:
        made: Tensor = self.project(self.excite(self.depthwise(self.expand(maps))))
        return made + maps if self.residual else made


class MobileNetV3Small(nn.Module):
    """The feature network: 927,008 parameters, 121.67 million operations for 224 x 224 pixels.

    Its batch norms keep their statistics in training, too: a step must not depend on how a batch is cut.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Layer(3, STEM, 3, 2, act=nn.Hardswish())
        channels = (STEM, *(row.out for row in ROWS))
        self.rows = nn.ModuleList(_Bottleneck(width, row) for width, row in zip(channels[:-1], ROWS, strict=True))
        self.last = _Layer(channels[-1], FEATURES, 1, act=nn.Hardswish())
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # Channels last is what depthwise kernels on CPUs read in one piece.
                module.weight = nn.Parameter(module.weight.detach().contiguous(memory_format=torch.channels_last))
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def train(self, mode: bool = True) -> MobileNetV3Small:
        """See the class."""
        return super().train(False)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) pictures, normalised as ImageNet's -> (B, 576): means over all places."""
        maps = self.stem(pictures.contiguous(memory_format=torch.channels_last))
        for row in self.rows:
            maps = row(maps)
        made: Tensor = self.last(maps).mean((-2, -1))
        return made

    @torch.no_grad()
    def settle(self, pictures: Tensor) -> None:
        """Give the batch norms of a network with fresh weights the statistics of pictures (B, 3, H, W)."""
        norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.train()
            norm.momentum = 1.0  # what has been seen before says nothing
        self(pictures)
        self.eval()


def check_weights(weights: str) -> None:
    """Raise `InputError` where `weights` cannot be loaded."""
    if weights != RANDOM:
        load(MobileNetV3Small(), weights)


def load(network: MobileNetV3Small, weights: str) -> None:
    """Weights of a `.safetensors` or torch file in the names of torchvision or timm; a classifier is left aside.

    Raises:
        InputError: there is no such file, or it does not hold this network.
    """
    field = "probe.forecast.vision_weights"
    if not Path(weights).is_file():
        raise InputError(f"{field}: there is no file {weights}", f"name a file, or {RANDOM}")
    hint = "give MobileNetV3-Small (width 1.0) as torchvision's mobilenet_v3_small or timm's mobilenetv3_small_100"
    try:
        tensors = _tensors(Path(weights))
    except Exception as error:  # readers of either format raise what they like
        raise InputError(f"{field}: {weights} cannot be read ({type(error).__name__})", hint) from error
    of_timm = "conv_stem.weight" in tensors
    wanted = {f"{ours}.{key}": f"{theirs}.{key}" for ours, theirs in _names(of_timm) for key in _KEYS}
    own = network.state_dict()
    found = {name: wanted[name] for name in own if name in wanted}
    wrong = [key for name, key in found.items() if key not in tensors or tensors[key].shape != own[name].shape]
    if wrong:
        words = f"{len(wrong)} of {len(found)} tensors are missing or of another shape, such as {wrong[0]}"
        raise InputError(f"{field}: {weights}: {words}", hint)
    network.load_state_dict({**own, **{name: tensors[key] for name, key in found.items()}})
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-5 if of_timm else 1e-3  # either package trains with its own


_KEYS = ("weight", "bias", "running_mean", "running_var")


def _names(of_timm: bool) -> Iterator[tuple[str, str]]:
    """Our name and theirs of every convolution and norm; names of layers that do not exist do no harm."""
    yield from (("stem.conv", "conv_stem"), ("stem.norm", "bn1")) if of_timm else _pair("stem", "features.0")
    stage, member = 0, 0
    for number, row in enumerate(ROWS):
        if number and row.out != ROWS[number - 1].out:
            stage, member = stage + 1, 0
        if of_timm:
            yield from _timm(f"rows.{number}", f"blocks.{stage}.{member}", number > 0)
        else:
            yield from _torchvision(f"rows.{number}", f"features.{number + 1}.block", number > 0, row.excite)
        member += 1
    if of_timm:
        yield from (("last.conv", f"blocks.{stage + 1}.0.conv"), ("last.norm", f"blocks.{stage + 1}.0.bn1"))
    else:
        yield from _pair("last", f"features.{len(ROWS) + 1}")


def _pair(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield from ((f"{ours}.conv", f"{theirs}.0"), (f"{ours}.norm", f"{theirs}.1"))


def _torchvision(ours: str, theirs: str, widened: bool, excite: bool) -> Iterator[tuple[str, str]]:
    """Layers are numbered as they come."""
    parts = ["expand"] * widened + ["depthwise"] + ["excite"] * excite + ["project"]
    for place, part in enumerate(parts):
        if part == "excite":
            yield from (
                (f"{ours}.excite.reduce", f"{theirs}.{place}.fc1"),
                (f"{ours}.excite.widen", f"{theirs}.{place}.fc2"),
            )
        else:
            yield from _pair(f"{ours}.{part}", f"{theirs}.{place}")


def _timm(ours: str, theirs: str, widened: bool) -> Iterator[tuple[str, str]]:
    """Convolutions have names, norms numbers."""
    convs = {"expand": "conv_pw", "depthwise": "conv_dw", "project": "conv_pwl"}
    if not widened:
        convs = {"depthwise": "conv_dw", "project": "conv_pw"}
    for number, (part, conv) in enumerate(convs.items(), 1):
        yield from ((f"{ours}.{part}.conv", f"{theirs}.{conv}"), (f"{ours}.{part}.norm", f"{theirs}.bn{number}"))
    for part, conv in (("reduce", "conv_reduce"), ("widen", "conv_expand")):
        yield f"{ours}.excite.{part}", f"{theirs}.se.{conv}"


def _tensors(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    tensors: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return {str(key): value for key, value in tensors.items()}


def _eighths(channels: int) -> int:
    """The nearest multiple of eight that is no tenth below."""
    near = max(8, (channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near
