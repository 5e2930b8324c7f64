"""LTE and 5G NR downlink frames: numerology, pilots, synchronisation and control regions; payload is random.

LTE, TS 36.211: carriers 15 kHz apart without one at zero frequency, slots of 7 symbols, prefixes of 160 and 144
samples at 30.72 MS/s (6.12, Table 6.12-1); cell-specific pilots of port 0 on every sixth carrier of symbols 0 and 4
(6.10.1.2); primary (Zadoff-Chu, roots 25, 29, 34) and secondary synchronisation on the 62 middle carriers of symbols
6 and 5 of slots 0 and 10, five empty carriers at either side (6.11); two control symbols in a subframe (6.7, 6.8).

NR, TS 38.211: 15 x 2^mu kHz, slots of 14 symbols, prefixes 144 x 2^-mu, 16 longer every half subframe (5.3.1); two
control symbols in a slot (7.3.2.2); pilots of PDSCH type 1, mapping type A, in symbols 2 and 11 (7.4.1.1.2), on every
other carrier, 3 dB up beside empty ones (two CDM groups without data, TS 38.214 clause 4.1).

Of the control region each block of 12 carriers is used with probability one half, by QPSK with the power of two; of the
rest, each resource block with the probability of the load. The pilot and secondary sequences are random signs of the
right constellation in place of Gold and m-sequences.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.waveforms import LTEGrid, NRGrid
from wfm_datasets.waveforms.constellations import payload
from wfm_datasets.waveforms.signal import Complex, Grid, Signal, modulate, ofdm_spectrum

LTE_SLOT, NR_SLOT, BLOCK = 7, 14, 12
CONTROL = 2
"""Control symbols in a subframe of LTE (the fewest of the narrowest channel) and in a slot of NR."""
NR_PILOTS = (2, 11)
ROOTS = (25, 29, 34)


def lte_grid(block: LTEGrid) -> Grid:
    """LTE numerology: 128 to 2048 carriers with at least a sixth unused."""
    half = BLOCK * block.resource_blocks // 2
    used = np.concatenate([np.arange(-half, 0), np.arange(1, half + 1)])
    return Grid(15e3, _transform(2 * half), used)


def nr_grid(block: NRGrid) -> Grid:
    """NR numerology."""
    carriers = BLOCK * block.resource_blocks
    return Grid(block.spacing_khz * 1e3, _transform(carriers), np.arange(carriers) - carriers // 2)


def _transform(carriers: int) -> int:
    return max(128, 1 << math.ceil(math.log2(1.2 * carriers)))


def lte_prefix(nfft: int, symbols: int) -> NDArray[np.int64]:
    """Samples before each of so many symbols from the start of a slot."""
    made: NDArray[np.int64] = (144 + 16 * (np.arange(symbols) % LTE_SLOT == 0)) * nfft // 2048
    return made


def nr_prefix(nfft: int, spacing_khz: int, symbols: int) -> NDArray[np.int64]:
    """Samples before each of so many symbols from the start of a subframe."""
    numerology = {15: 1, 30: 2, 60: 4}[spacing_khz]
    longer = np.arange(symbols) % (7 * numerology) == 0
    made: NDArray[np.int64] = 144 * nfft // 2048 + longer * (16 * nfft * numerology // 2048)
    return made


def lte_frame(
    rng: np.random.Generator, carriers: int, modulation: str, slots: int, first: int, load: float = 1.0
) -> Complex:
    """What the used carriers carry in so many slots from slot `first` of a frame on, (7 slots, carriers)."""
    symbols = LTE_SLOT * slots
    slot, symbol = first + np.arange(symbols) // LTE_SLOT, np.arange(symbols) % LTE_SLOT
    values = payload(rng, modulation, "3gpp", (symbols, carriers))
    values *= _allocation(rng, carriers, slots // 2 + 2, load)[slot // 2 - first // 2]
    _control(rng, values, np.flatnonzero((slot % 2 == 0) & (symbol < CONTROL)))
    shift = int(rng.integers(6))
    for within, offset in ((0, 0), (4, 3)):
        rows = np.flatnonzero(symbol == within)
        columns = np.arange((offset + shift) % 6, carriers, 6)
        values[np.ix_(rows, columns)] = payload(rng, "qpsk", "3gpp", (len(rows), len(columns)))
    middle = slice(carriers // 2 - 36, carriers // 2 + 36)
    signs = payload(rng, "bpsk", "ieee", (2, 62))
    primary = zadoff_chu(int(rng.choice(ROOTS)))
    for half, sign in enumerate(signs):
        for within, sequence in ((6, primary), (5, sign)):
            values[(slot % 20 == 10 * half) & (symbol == within), middle] = np.pad(sequence, 5)
    return values


def zadoff_chu(root: int) -> Complex:
    """The primary synchronisation sequence, (62,): TS 36.211 clause 6.11.1.1."""
    n = np.arange(62)
    turns = root * np.where(n < 31, n * (n + 1), (n + 1) * (n + 2)) / 126
    sequence: Complex = np.exp(-2j * np.pi * turns).astype(np.complex64)
    return sequence


def nr_slots(rng: np.random.Generator, carriers: int, modulation: str, slots: int, load: float = 1.0) -> Complex:
    """What the carriers carry in so many slots, (14 slots, carriers)."""
    values = payload(rng, modulation, "3gpp", (NR_SLOT * slots, carriers))
    slot, symbol = np.divmod(np.arange(NR_SLOT * slots), NR_SLOT)
    rows = np.flatnonzero(np.isin(symbol, NR_PILOTS))
    values[rows] = 0
    values[rows, ::2] = np.float32(np.sqrt(2)) * payload(rng, "qpsk", "3gpp", (len(rows), -(-carriers // 2)))
    values *= _allocation(rng, carriers, slots, load)[slot]
    _control(rng, values, np.flatnonzero(symbol < CONTROL))
    return values


def _allocation(rng: np.random.Generator, carriers: int, times: int, load: float) -> NDArray[np.float32]:
    """Amplitude of every carrier at every time, (times, carriers): blocks that are used make up for the others."""
    used = rng.random((times, carriers // BLOCK), np.float32) < load
    return np.repeat(used * np.float32(load**-0.5), BLOCK, axis=1)


def _control(rng: np.random.Generator, values: Complex, rows: NDArray[np.int64]) -> None:
    blocks = values.shape[1] // BLOCK
    amplitude = np.float32(np.sqrt(2)) * (rng.random((len(rows), blocks), np.float32) < 0.5)
    symbols = payload(rng, "qpsk", "3gpp", (len(rows), values.shape[1]))
    values[rows] = symbols * np.repeat(amplitude, BLOCK, axis=1)


def lte(rng: np.random.Generator, block: LTEGrid, modulation: str, milliseconds: int) -> Signal:
    """So many ms of LTE from a random sample of a frame on."""
    grid = lte_grid(block)
    samples = round(grid.rate_hz * milliseconds * 1e-3)
    values = lte_frame(rng, len(grid.used), modulation, 2 * milliseconds + 1, int(rng.integers(20)), block.load)
    stream = modulate(values, grid, lte_prefix(grid.nfft, len(values)))
    return _cut(rng, stream, samples, grid, 144 + 16 / LTE_SLOT)


def nr(rng: np.random.Generator, block: NRGrid, modulation: str, milliseconds: int) -> Signal:
    """So many ms of NR from a random sample of a subframe on."""
    grid = nr_grid(block)
    samples = round(grid.rate_hz * milliseconds * 1e-3)
    values = nr_slots(rng, len(grid.used), modulation, (milliseconds + 1) * block.spacing_khz // 15, block.load)
    stream = modulate(values, grid, nr_prefix(grid.nfft, block.spacing_khz, len(values)))
    return _cut(rng, stream, samples, grid, 144 + 16 / 7)


def _cut(rng: np.random.Generator, stream: Complex, samples: int, grid: Grid, prefix: float) -> Signal:
    start = int(rng.integers(len(stream) - samples))
    shape = ofdm_spectrum(grid, prefix * grid.nfft / 2048, samples)
    return Signal(stream[start : start + samples], shape, grid.width_hz)
