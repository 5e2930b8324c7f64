"""Convolutional networks: the head of the LWM papers on frozen tokens, and supervised networks trained from scratch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from wfm_cli.core.evaluation.adaptation.standardise import Standardise, zero_head
from wfm_cli.core.recipe.probes import ConvProbe, Res1DCNNProbe, ResNetProbe


class Convolutional(nn.Module):
    """Channels of fixed mean and deviation, a convolutional body, a linear head that starts at zero.

    Inputs are (B, ..., C), channels last; their statistics are those of the training draw, over samples and places.
    """

    fixed_input = True

    def __init__(self, body: nn.Module, channels: int, dim: int, columns: int) -> None:
        super().__init__()
        self.standardise = Standardise(channels)
        self.body = body
        self.head = zero_head(dim, columns)

    def train(self, mode: bool = True) -> Convolutional:
        """As usual, but the statistics of the input stay those of the training draw."""
        super().train(mode)
        self.standardise.eval()
        return self

    def features(self, inputs: Tensor) -> Tensor:
        """Inputs are what is standardised."""
        return inputs

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, ..., C) -> (B, columns)."""
        scores: Tensor = self.head(self.body(self.standardise(inputs).movedim(-1, 1)))
        return scores


class Residual(nn.Module):
    """Two convolutions of kernel 3 with batch norm, to which the input is added: as it is, or through kernel 1."""

    def __init__(self, inside: int, outside: int, stride: int, places: int) -> None:
        super().__init__()
        conv, norm = (nn.Conv1d, nn.BatchNorm1d) if places == 1 else (nn.Conv2d, nn.BatchNorm2d)
        self.body = nn.Sequential(
            conv(inside, outside, 3, stride, 1, bias=False), norm(outside), nn.ReLU(),
            conv(outside, outside, 3, 1, 1, bias=False), norm(outside),
        )  # fmt: skip
        moved = stride > 1 or inside != outside
        self.shortcut: nn.Module = (
            nn.Sequential(conv(inside, outside, 1, stride, bias=False), norm(outside)) if moved else nn.Identity()
        )
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C', ...)."""
        made: Tensor = self.act(self.body(x) + self.shortcut(x))
        return made


class _Sequence(nn.Module):
    """The features of one embedding as a sequence of one channel: (B, D, 1) is (B, 1, D) for what follows."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1) if x.ndim == 2 else x


def res1dcnn(choice: Res1DCNNProbe, features: int, columns: int) -> Convolutional:
    """The residual head of the LWM papers (about 0.5 million weights on 64 features).

    On tokens (B, T, D) features are channels and tokens places; on embeddings (B, D) there is one channel of D places.
    """
    inside = features if choice.input == "tokens" else 1
    stages = [(32, 32)] * 2 + [(32, 64)] + [(64, 64)] * 2 + [(64, 128)] + [(128, 128)] * 3
    body = nn.Sequential(
        _Sequence(),
        nn.Conv1d(inside, 32, 7, 2, 3), nn.BatchNorm1d(32), nn.ReLU(), nn.MaxPool1d(3, 2, 1),
        *(Residual(*widths, 1, places=1) for widths in stages),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(),
        nn.Linear(128, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(choice.dropout),
    )  # fmt: skip
    return Convolutional(body, features, 128, columns)


def deep_cnn(widths: Sequence[int], channels: int) -> tuple[nn.Module, int]:
    """Stages of two convolutions of kernel 3, the first with stride 2; mean over the picture. Body and its width."""
    layers: list[nn.Module] = []
    for inside, outside in zip((channels, *widths), widths, strict=False):
        for width, stride in ((inside, 2), (outside, 1)):
            layers += [nn.Conv2d(width, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), widths[-1]


def resnet18(width: int, channels: int) -> tuple[nn.Module, int]:
    """ResNet-18 (arXiv 1512.03385, Table 1) with a stem for any number of channels. Body and its width.

    Width 64 has 11.2 million weights; every width has two residual blocks at each of 1, 2, 4 and 8 widths.
    """
    stages = [(width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2), (4 * width, 8 * width, 2)]
    blocks = [
        Residual(*step, places=2) for inside, out, stride in stages for step in ((inside, out, stride), (out, out, 1))
    ]
    stem = [nn.Conv2d(channels, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 8 * width


def supervised(choice: ConvProbe | ResNetProbe, channels: int, columns: int) -> Convolutional:
    """A network on raw samples (B, rows, columns, channels), new weights from torch's global generator."""
    made = deep_cnn(choice.widths, channels) if isinstance(choice, ConvProbe) else resnet18(choice.width, channels)
    return Convolutional(made[0], channels, made[1], columns)
