"""Spectrograms: two-sided short-time power in dB re full scale, zero frequency in the middle.

    P[f, t] = |sum_n w[n] x[t hop + n] exp(-2 pi i (f - F/2) n / F)|^2 / (sum_n w[n])^2

so that a tone of amplitude 1 at a bin centre reads 0 dBFS. The work goes block by block through scratch memory that
stays in the caches; each sample of the signal is read once and each value of the result written once.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Window = Literal["hann", "hamming", "blackman", "rect"]
BLOCK_BYTES = 1 << 20
"""Scratch for the windowed frames of one block; the transform and the power take twice as much beside it. Of 256 KiB to
2 MiB this is the fastest: in smaller blocks the calls cost more than the cache saves."""
STEP_DB = 0.5
"""Step of spectrograms kept in eight bits."""
FLOOR_DB = -120.0
"""Powers below this read as this, dBFS."""
_DB = float(10 / np.log2(10))
_COSINES: dict[str, tuple[float, ...]] = {
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
    "rect": (1.0,),
}
"""Coefficients a_k of the windows: w[n] = sum_k (-1)^k a_k cos(2 pi k n / N)."""


def window(name: Window, length: int) -> NDArray[np.float64]:
    """A periodic (DFT-even) window, (length,): the first of its `length + 1` symmetric values."""
    phase = 2 * np.pi * np.arange(length) / length
    made: NDArray[np.float64] = sum(
        ((-1) ** k * a * np.cos(k * phase) for k, a in enumerate(_COSINES[name])), np.zeros(length)
    )
    return made


@dataclass(frozen=True)
class STFT:
    """Size of a spectrogram and how it is made.

    Raises:
        ValueError: a size is not positive.
    """

    nfft: int
    """Length of the window and of the transform: frequency bins F."""
    hop: int
    """Samples from one frame to the next; may exceed `nfft`."""
    frames: int
    """Frames T."""
    window: Window = "hann"
    floor_db: float = FLOOR_DB
    """Powers below this read as this, dBFS."""

    def __post_init__(self) -> None:
        if min(self.nfft, self.hop, self.frames) < 1:
            raise ValueError("nfft, hop and frames must be positive")

    @property
    def samples(self) -> int:
        """Samples that the frames span; nothing is padded."""
        return self.nfft + (self.frames - 1) * self.hop

    def frequencies(self, sample_rate: float = 1.0) -> NDArray[np.float64]:
        """Baseband frequency of every bin in Hz, ascending, zero at index nfft // 2."""
        return np.asarray((np.arange(self.nfft) - self.nfft // 2) * (sample_rate / self.nfft), np.float64)

    def times(self, sample_rate: float = 1.0) -> NDArray[np.float64]:
        """Middle of every frame in s from the first sample."""
        return np.asarray((np.arange(self.frames) * self.hop + self.nfft / 2) / sample_rate, np.float64)


PRESETS: dict[str, STFT] = {
    "lwm-spectro": STFT(128, 64, 128),
    "wavesfm": STFT(224, 112, 224),
    "torchsig": STFT(512, 512, 512, "blackman"),
}
"""Sizes of spectrograms in the field: LWM-Spectro (arXiv:2601.08780, 128 x 128), WavesFM's image size (224 x 224) and
TorchSig (512 x 512, Blackman window, no overlap)."""


def spectrogram_db(
    iq: NDArray[np.complex64],
    stft: STFT,
    out: NDArray[Any] | None = None,
    *,
    threads: int = 1,
    block_bytes: int = BLOCK_BYTES,
) -> NDArray[Any]:
    """Power of every frame and frequency in dB.

    Args:
        iq: Signals (B, L), complex64, L = `stft.samples`.
        stft: Sizes, window and floor.
        out: Where to write, (B, F, T): float16 (the default), float32, or uint8, where value q means
            `stft.floor_db` + q `STEP_DB`.
        threads: Threads that share the blocks. The result does not depend on their number.
        block_bytes: Scratch for the frames of a block.

    Returns:
        `out`: (B, F, T) dBFS, frequencies ascending, zero frequency at index F // 2.

    Raises:
        ValueError: shapes or types do not fit.
    """
    signals = np.ascontiguousarray(iq, np.complex64)
    if signals.ndim != 2 or signals.shape[1] != stft.samples:
        raise ValueError(f"signals of shape {signals.shape}, expected (B, {stft.samples})")
    shape = (len(signals), stft.nfft, stft.frames)
    if out is None:
        out = np.empty(shape, np.float16)
    if out.shape != shape or out.dtype not in (np.float16, np.float32, np.uint8):
        raise ValueError(f"out is {out.dtype} {out.shape}, expected float16, float32 or uint8 {shape}")
    blocks = _blocks(len(signals), stft, block_bytes)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # one thread per block: more would leave the cache
    try:
        worker = _Worker(signals, stft, out)
        if threads > 1 and len(blocks) > 1:
            shares = [blocks[len(blocks) * i // threads : len(blocks) * (i + 1) // threads] for i in range(threads)]
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(worker, shares))
        else:
            worker(blocks)
    finally:
        torch.set_num_threads(before)
    return out


_Block = tuple[int, int, int, int]
"""Signals [b0, b1) and frames [t0, t1)."""


def _blocks(signals: int, stft: STFT, block_bytes: int) -> list[_Block]:
    frames = max(1, block_bytes // (8 * stft.nfft))
    if frames >= stft.frames:
        together = frames // stft.frames
        return [(b, min(b + together, signals), 0, stft.frames) for b in range(0, signals, together)]
    cuts = range(0, stft.frames, frames)
    return [(b, b + 1, t, min(t + frames, stft.frames)) for b in range(signals) for t in cuts]


class _Scratch:
    """Memory for one block of (b, t) frames, with every view of it that the work needs."""

    def __init__(self, b: int, t: int, nfft: int, dtype: torch.dtype) -> None:
        self.frames = torch.empty((b, t, 2 * nfft))
        self.complex = torch.view_as_complex(self.frames.view(b * t, nfft, 2))
        self.level = torch.empty((b * t, nfft))
        self.values = self.level.numpy()
        # Rows a multiple of 512 bytes apart would all fall on the same few cache lines when they are turned.
        width = nfft + (64 // dtype.itemsize if nfft * dtype.itemsize % 512 == 0 else 0)
        self.kept = torch.empty((b * t, width), dtype=dtype)[:, :nfft]
        self.turned = self.kept.view(b, t, nfft).transpose(1, 2)


class _Worker:
    """Makes blocks; every call has scratch memory of its own."""

    def __init__(self, signals: NDArray[np.complex64], stft: STFT, out: NDArray[Any]) -> None:
        self.stft, self.out = stft, torch.from_numpy(out)
        weights = window(stft.window, stft.nfft)
        weights /= weights.sum()
        if stft.nfft % 2 == 0:
            weights *= 1 - 2 * (np.arange(stft.nfft) % 2)  # a shift by half the rate: bin 0 is the lowest frequency
        # Real arithmetic on [re, im] pairs: half the work of a complex product.
        self.weights = torch.from_numpy(np.repeat(weights, 2).astype(np.float32))
        pairs = signals.view(np.float32)
        pairs = pairs if pairs.flags.writeable else pairs.copy()  # torch has no read-only tensors
        self.frames = torch.from_numpy(pairs).unfold(-1, 2 * stft.nfft, 2 * stft.hop)
        self.floor = float(10 ** (stft.floor_db / 20))

    def __call__(self, blocks: Sequence[_Block]) -> None:
        held: dict[tuple[int, int], _Scratch] = {}
        for b0, b1, t0, t1 in blocks:
            size = (b1 - b0, t1 - t0)
            if size not in held:
                held[size] = _Scratch(*size, self.stft.nfft, self.out.dtype)
            scratch = held[size]
            torch.mul(self.frames[b0:b1, t0:t1], self.weights, out=scratch.frames)
            self._decibels(torch.fft.fft(scratch.complex), scratch)
            self._place(scratch.turned, self.out[b0:b1, :, t0:t1])

    def _decibels(self, spectrum: Tensor, scratch: _Scratch) -> None:
        """Power in dB, in the type of the result. NumPy has the faster modulus and logarithm, torch the rest."""
        level, values = scratch.level, scratch.values
        np.abs(spectrum.numpy(), out=values)
        level.clamp_(min=self.floor)
        np.log2(values, out=values)
        if self.out.dtype == torch.uint8:
            level.mul_(2 * _DB / STEP_DB).sub_(self.stft.floor_db / STEP_DB).round_().clamp_(0, 255)
        else:
            level.mul_(2 * _DB)
        scratch.kept.copy_(level)

    def _place(self, turned: Tensor, out: Tensor) -> None:
        """Write (b, F, t); an odd transform is shifted here."""
        if self.stft.nfft % 2 == 0:
            out.copy_(turned)
            return
        middle = self.stft.nfft // 2
        out[:, middle:].copy_(turned[:, : middle + 1])
        out[:, :middle].copy_(turned[:, middle + 1 :])
