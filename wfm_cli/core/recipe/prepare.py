"""Recipes of `wfm prepare`: which builder makes the store, from what, and how it is laid out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from wfm_cli.core.recipe.base import Recipe, Strict
from wfm_cli.core.recipe.deepsense import DeepSenseSource

WavesFMTask = Literal["sensing", "rfs", "pos", "radcom", "rml", "rfp", "interf", "uwb-indoor", "uwb-industrial"]


def _whole(fractions: tuple[float, float, float]) -> tuple[float, float, float]:
    if min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError("the three shares must be positive and sum to 1")
    return fractions


class Layout(Strict):
    """How a store lies on disk."""

    shard_mib: float = Field(128.0, gt=0, le=4096)
    """Size of one shard of the largest array, in MiB, at most. One shard is one part of the build."""
    chunk_mib: float = Field(1.0, gt=0, le=64)
    """Size of one inner chunk, in MiB. A chunk holds whole rows."""
    compression: Literal["none", "zstd"] = "none"
    """`none` reads at memory-map speed; `zstd` is for archiving and transport."""


class DeepMIMOSource(Strict):
    """Channels synthesised from the rays of DeepMIMO scenario folders (v2/v3 `.mat` or v4)."""

    kind: Literal["deepmimo"] = "deepmimo"
    scenarios: tuple[str, ...] = Field(min_length=1)
    """Scenario folders; `embedded:canyon_3p5` and `embedded:canyon_28` name the scenarios that ship with wfm."""
    bs: dict[str, int] | int = 1
    """Base station number (from 1), one for all scenarios or a map from scenario name to number."""
    antennas: int = Field(32, ge=1, le=1024)
    """Elements of the base station's uniform linear array, half a wavelength apart."""
    subcarriers: int = Field(32, ge=1, le=4096)
    """Number of subcarriers K."""
    spacing_khz: float = Field(30.0, gt=0)
    """Subcarrier spacing in kHz; the bandwidth is subcarriers x spacing."""
    paths: int = Field(20, ge=1)
    """At most this many paths of a user, in the order of the file (as DeepMIMO does)."""
    late_paths: Literal["error", "drop"] = "error"
    """Paths with a delay of 1/spacing or more, which would alias: refuse the scenario, or drop and count them."""
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, -135.0)
    """Rotation of the array about x, y and z in degrees; the bearing is the third number."""
    normalise: Literal["raw", "published", "power"] = "published"
    """`raw` path gains; `published` times 1e6 as in LWM; `power` unit mean power per sample."""
    beams: tuple[int, ...] = (16, 32, 64, 128, 256)
    """Sizes of the beam codebooks that get labels, each at least 2 and given once."""
    split: Literal["city", "spatial", "random"] | None = None
    """Default split; by city when there are scenarios of two or more places, else by spatial block."""
    split_seed: int = 0
    """Seed of the random and spatial splits."""
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    """Shares of train, validation and test; the city split uses the ratio of the first two."""
    block_m: float = Field(20.0, gt=0)
    """Edge of the square blocks of the spatial split, in metres."""
    test_city: str | None = None
    """Scenario that the city split holds out, with all others on the same users; the last one by default."""

    @field_validator("beams")
    @classmethod
    def _distinct_codebooks(cls, beams: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(beams)) < len(beams) or any(not 2 <= n <= 32767 for n in beams):
            raise ValueError("codebook sizes must be distinct numbers from 2 to 32767")
        return beams

    _shares = field_validator("fractions")(_whole)


class WavesFMSource(Strict):
    """One of the data sets that WavesFM and LatentWave are measured on, from its published raw files."""

    kind: Literal["wavesfm"] = "wavesfm"
    task: WavesFMTask
    """Which data set, by WavesFM's name of its task."""
    paths: tuple[str, ...] = Field(min_length=1)
    """Files, or folders that are searched to the bottom."""
    size: int = Field(224, ge=0, le=4096)
    """Edge of image-like samples (sensing, rfs, pos) after bicubic resizing; 0 keeps their own grid."""
    normalise: Literal["file", "wavesfm"] = "file"
    """`file` keeps the scale of the files and stores WavesFM's constants beside it; `wavesfm` applies them."""
    split: str | None = Field(None, pattern=r"^[a-z][a-z_]*$")
    """Default split: `published` (single samples at random, as in the papers), or one by group, the default."""
    split_seed: int = 0
    """Seed of the splits."""
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    """Shares of train, validation and test; splits with a given test set use the ratio of the first two."""

    _shares = field_validator("fractions")(_whole)


class SpectrogramSource(Strict):
    """Spectrograms of I/Q recordings: SigMF, WAV, NumPy, MATLAB, HDF5 sets, raw samples and what else wfm reads."""

    kind: Literal["spectrogram"] = "spectrogram"
    inputs: tuple[str, ...] = Field(min_length=1)
    """Files, folders that are searched to the bottom, and globs."""

    dtype: str | None = None
    """Type of the samples of headerless files, such as `cs16`, `cu8` or `cf32_le`; without it their bytes decide."""
    rate: float | None = Field(None, gt=0)
    """Samples per second, Hz; wins over what the files say."""
    freq: float | None = Field(None, ge=0)
    """Centre frequency, Hz; wins over what the files say."""
    order: Literal["auto", "iq", "qi"] = "auto"
    """Which part of a sample comes first in headerless files."""
    skip_bytes: int | None = Field(None, ge=0)
    """Header of headerless files, bytes; without it known headers are recognised."""
    layout: Literal["auto", "samples", "parts_first", "parts_last"] = "auto"
    """Where I and Q lie in real arrays of .npy, .npz and MATLAB files: `parts_first` (N, 2, L), `parts_last`
    (N, L, 2), or one after the other (`samples`)."""
    variable: str | None = None
    """Variable of .npz, MATLAB and HDF5 files that hold several."""
    label: str = "auto"
    """Where classes come from: `auto` (the files, else their folders), `folder`, `none`, `name:REGEX` with one group,
    `csv:FILE` with columns file,label, or the name of a field of the files."""
    checksum: bool = True
    """Compare the data of SigMF recordings with their sha512."""
    skip_bad: bool = False
    """Leave out files that cannot be read; without it one of them stops the build before anything is written."""

    preset: Literal["lwm-spectro", "wavesfm", "torchsig"] = "lwm-spectro"
    """Size, hop and window: LWM-Spectro 128 x 128 at a hop of 64, WavesFM 224 x 224 at 112, TorchSig 512 x 512 without
    overlap under a Blackman window. The next four fields change one thing each."""
    nfft: int | None = Field(None, ge=2, le=65536)
    """Frequencies; the hop scales with it."""
    hop: int | None = Field(None, ge=1)
    """Samples from one frame to the next."""
    frames: int | None = Field(None, ge=1, le=65536)
    """Frames. A window of a recording has nfft + (frames - 1) hop samples; nothing is padded."""
    window: Literal["hann", "hamming", "blackman", "rect"] | None = None
    """Weights of the samples of a frame (periodic)."""
    floor_db: float = Field(-120.0, ge=-300, le=0)
    """Powers below this read as this, dBFS; eight bits span 127.5 dB from here."""
    gain_db: float = Field(0.0, ge=-200, le=200)
    """Added to the level of all samples, and stored beside each, for files in other units than full scale."""

    windows: Literal["recording", "annotation"] = "recording"
    """What windows are cut from: whole recordings, or their annotated stretches alone, which give the class."""
    stride: float = Field(1.0, gt=0)
    """From one window to the next, in windows: 1 leaves no gap and no overlap."""
    max_windows: int | None = Field(None, ge=1)
    """At most so many windows of one recording, annotation or example, spread evenly over it."""
    channels: Literal["separate", "joint"] = "separate"
    """Channels recorded at the same time: samples of their own, or the channel axis of one sample."""
    dtype_out: Literal["float16", "float32", "uint8"] = "float16"
    """Type of the stored decibels; uint8 has steps of 0.5 dB and is decoded when it is read."""
    keep_iq: bool = False
    """Store the I/Q of every window as well."""

    joint: dict[str, tuple[str, ...]] = Field({})
    """Labels made of several fields, such as `snr_mobility: [snr_db, mobility]`."""
    split: str | None = Field(None, pattern=r"^[a-z][a-z0-9_]*$")
    """Default split; `recording` where there are enough recordings, else `random`."""
    split_seed: int = 0
    """Seed of the splits."""
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    """Shares of train, validation and test; splits with a given test set use the ratio of the first two."""
    hold_out: dict[str, str | float | tuple[str | float, ...]] = Field({})
    """Splits by a field whose named values make the test set, such as `scenario: city_7_sandiego`."""
    folds: int | None = Field(None, ge=2, le=20)
    """Number of splits `fold_0`, `fold_1` ... in which every recording is tested once."""

    _shares = field_validator("fractions")(_whole)


class PrepareRecipe(Recipe):
    """Builds one store."""

    step: Literal["prepare"] = "prepare"
    source: Annotated[DeepMIMOSource | WavesFMSource | SpectrogramSource | DeepSenseSource, Field(discriminator="kind")]
    """What the samples are made from. One of the sources known to wfm, chosen by `kind`."""
    layout: Layout = Layout()
    """Layout on disk."""
    seed: int = 0
    """Seed of everything random in the build."""
