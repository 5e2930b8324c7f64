"""Spectrograms: I/Q to float16 decibels against scipy and torch, and a whole store against scipy and zarr-python.

The other two make what the documentation of `scipy.signal.stft` and `torch.stft` suggests, in complex64 and without
padding: power, 10 log10, zero frequency in the middle, float16, frequency before time. Ours writes into an array of its
caller, as it does in a build.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
import torch
import zarr
from measure import Row, compare
from numpy.typing import NDArray

from wfm_cli.core.recipe.prepare import PrepareRecipe
from wfm_cli.core.signal.stft import PRESETS, STFT, spectrogram_db, window
from wfm_cli.core.store import parts

FLOOR = np.float32(1e-12)
SIZES: tuple[tuple[int, STFT], ...] = (
    (16, STFT(128, 64, 1023)),
    (16, STFT(256, 128, 511)),
    (16, STFT(256, 64, 1021)),
    (16, STFT(1024, 512, 127)),
    (1024, STFT(128, 64, 15)),
    (8192, STFT(64, 16, 5)),
    (64, PRESETS["lwm-spectro"]),
    (32, PRESETS["wavesfm"]),
    (4, PRESETS["torchsig"]),
)
"""Signals and sizes: 65,536 samples, 1,024 samples, RadioML's 128 samples, and the presets."""
FILE_SAMPLES = 32 << 20
"""Samples of the file of the whole job: 128 MiB of 16-bit I/Q."""


def signals(count: int, samples: int) -> NDArray[np.complex64]:
    rng = np.random.default_rng(0)
    return (rng.standard_normal((count, samples, 2), np.float32) / 4).view(np.complex64)[..., 0]


def with_scipy(iq: NDArray[np.complex64], stft: STFT) -> NDArray[np.float16]:
    spectrum = scipy.signal.stft(
        iq,
        window=window(stft.window, stft.nfft).astype(np.float32),
        nperseg=stft.nfft,
        noverlap=stft.nfft - stft.hop,
        return_onesided=False,
        boundary=None,
        padded=False,
        detrend=False,
        axis=-1,
    )[2]
    power = np.abs(spectrum) ** 2
    return np.fft.fftshift(10 * np.log10(power + FLOOR), axes=-2).astype(np.float16)


def with_torch(iq: torch.Tensor, stft: STFT) -> torch.Tensor:
    weights = torch.from_numpy(window(stft.window, stft.nfft)).float()
    spectrum = torch.stft(
        iq, stft.nfft, stft.hop, window=weights / weights.sum(), center=False, onesided=False, return_complex=True
    )
    return torch.fft.fftshift(10 * torch.log10(spectrum.abs().square() + float(FLOOR)), dim=-2).to(torch.float16)


def transforms() -> list[Row]:
    rows = []
    for count, stft in SIZES:
        iq = signals(count, stft.samples)
        tensor, out = torch.from_numpy(iq), np.empty((count, stft.nfft, stft.frames), np.float16)
        calls: dict[str, Callable[[], Any]] = {
            "ours": lambda iq=iq, stft=stft, out=out: spectrogram_db(iq, stft, out),
            "scipy": lambda iq=iq, stft=stft: with_scipy(iq, stft),
            "torch": lambda tensor=tensor, stft=stft: with_torch(tensor, stft),
        }
        truth = calls["scipy"]().astype(np.float32)
        for name in ("ours", "torch"):
            made = np.asarray(calls[name]()).astype(np.float32)
            assert np.abs(made - truth)[truth > -100].max() < 0.13, name
        seconds = compare(calls, repeats=9)
        what = f"{count} x {stft.samples}, nfft {stft.nfft}, hop {stft.hop}"
        note = f"ours {iq.size / 1e6 / seconds['ours']:.0f} million samples per CPU second"
        rows += [
            Row(f"{what}: {name} / ours", seconds[name] / seconds["ours"], "x", 2.5, note=note)
            for name in ("scipy", "torch")
        ]
    return rows


def whole_job(folder: Path) -> list[Row]:
    """One file of 16-bit I/Q to a finished store; the other way hashes nothing, checks nothing and keeps no record."""
    stft = PRESETS["lwm-spectro"]
    numbers = (np.random.default_rng(0).standard_normal((FILE_SAMPLES, 2), np.float32) * 4000).astype("<i2")
    (folder / "iq.cs16").write_bytes(numbers.tobytes())
    source = {"kind": "spectrogram", "inputs": [str(folder / "iq.cs16")], "dtype": "cs16", "rate": 1e6, "label": "none"}
    recipe = PrepareRecipe.model_validate({"step": "prepare", "source": source})
    turn = iter(range(1000))
    windows = FILE_SAMPLES // stft.samples

    def ours() -> None:
        parts.run(recipe, folder / f"ours{next(turn)}.zarr", progress=False)

    def theirs() -> None:
        mapped = np.memmap(folder / "iq.cs16", "<i2", "r")[: windows * stft.samples * 2].reshape(windows, -1)
        array = zarr.create_array(
            folder / f"theirs{next(turn)}.zarr",
            shape=(windows, 1, stft.nfft, stft.frames),
            dtype="float16",
            chunks=(32, 1, stft.nfft, stft.frames),
            shards=(4096, 1, stft.nfft, stft.frames),
            compressors=None,
        )
        # A shard at a time, or zarr would read and write it again for every block.
        for shard in range(0, windows, 4096):
            last = min(shard + 4096, windows)
            made = np.empty((last - shard, 1, stft.nfft, stft.frames), np.float16)
            for start in range(shard, last, 128):
                block = mapped[start : min(start + 128, last)].astype(np.float32) / 32768
                made[start - shard : start - shard + len(block), 0] = with_scipy(block.view(np.complex64), stft)
            array[shard:last] = made

    seconds = compare({"ours": ours, "theirs": theirs}, repeats=3)
    note = f"{FILE_SAMPLES * 4 / 1e6 / seconds['ours']:.0f} MB per CPU second, checksums and records included"
    what = f"{FILE_SAMPLES * 4 >> 20} MiB of I/Q to a store of {windows:,} windows: scipy and zarr-python / ours"
    return [Row(what, seconds["theirs"] / seconds["ours"], "x", 1.5, note=note)]


def main() -> list[Row]:
    """All rows of this benchmark."""
    torch.set_num_threads(1)
    rows = transforms()
    with tempfile.TemporaryDirectory(prefix="wfm_speed_") as folder:
        rows += whole_job(Path(folder))
    return rows


if __name__ == "__main__":
    for row in main():
        verdict = {None: "", True: "ok", False: "MISSED"}[row.met]
        print(f"{row.name:<88} {row.value:10.3g} {row.unit} {verdict:<6} {row.note}", flush=True)
