"""Raw samples as pictures: what networks that are trained from scratch see."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wfm_cli.core.evaluation.source import FeatureSource
from wfm_cli.core.provenance import digest
from wfm_cli.errors import InputError

if TYPE_CHECKING:
    from wfm_cli.core.store.reader import Store


class RawSource(FeatureSource):
    """Samples of a store as (rows, columns, channels) float32; a row of a table without an encoder.

    Real samples are (rows, columns) or (channel, rows, columns); complex ones have the channels re and im.

    Attributes:
        channels: number of channels.
        device: where networks compute.
    """

    def __init__(self, network: str, store: Store, device: str = "cpu") -> None:
        array = store.input
        if array not in store.names:
            raise InputError(f"{store.path}: it has no array {array}", f"its arrays: {', '.join(store.names)}")
        spec = store.spec(array)
        self._complex = spec.dtype.startswith("complex")
        places = len(spec.shape) - (0 if self._complex else len(spec.shape) - 2)
        if len(spec.shape) not in ((2,) if self._complex else (2, 3)) or places != 2:
            raise InputError(
                f"{store.path}: {array}: {network} needs pictures, not samples of shape {spec.shape}",
                "leave the probes cnn and resnet18 out",
            )
        self.channels = 2 if self._complex else 1 if len(spec.shape) == 2 else spec.shape[0]
        self.spec, self.name, self.role = f"supervised:{network}", f"{network} from scratch", "supervised"
        self.arrays, self.device = (array,), torch.device(device)
        self.digest = digest([self.spec, array])
        self.dim = prod(spec.shape) * (2 if self._complex else 1)

    def prepare(self, batch: NDArray[Any]) -> Tensor:
        """Rows as the store holds them as (B, rows, columns, channels) on the device."""
        values = torch.from_numpy(np.ascontiguousarray(batch))
        values = torch.view_as_real(values) if self._complex else values
        if not self._complex:
            values = values.unsqueeze(-1) if values.ndim == 3 else values.movedim(1, -1)
        return values.to(self.device, torch.float32)

    def extract(self, batch: NDArray[Any], *more: NDArray[Any]) -> NDArray[np.float32]:
        """The numbers of a sample themselves, (B, D)."""
        return np.asarray(self.prepare(batch).flatten(1).cpu().numpy(), np.float32)
