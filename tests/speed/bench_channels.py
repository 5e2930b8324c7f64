"""Rays to channels against DeepMIMO's own generator, in time, memory and error; one thread.

DeepMIMO is measured cold (its cached array responses cleared), as in a build that sees every user once. Both get the
same rays in memory and make the same 32 antennas x 32 subcarriers; `wfm` writes into a buffer of its caller, DeepMIMO
has no such way.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import Row, compare

from wfm_cli.core.signal.channels import Rays, synthesise

ROOT = Path(__file__).resolve().parents[2]
ANTENNAS, SUBCARRIERS, SPACING_HZ = 32, 32, 30e3
FIELDS = {
    "power": "power_db",
    "phase": "phase_deg",
    "delay": "delay_s",
    "aod_az": "aod_az_deg",
    "aod_el": "aod_el_deg",
}
PART = 8192
"""Users of one part when channels are streamed."""


def random_rays(users: int, paths: int, seed: int = 0, fewest: int | None = None) -> Rays:
    """Rays over 60 dB and 2 us, all `paths` present or from `fewest` up."""
    rng = np.random.default_rng(seed)

    def column(low: float, high: float) -> np.ndarray[Any, np.dtype[np.float32]]:
        return rng.random((users, paths), np.float32) * np.float32(high - low) + np.float32(low)

    limits = ((-140, -80), (-180, 180), (0, 2e-6), (-180, 180), (60, 120))
    columns = [column(*pair) for pair in limits]
    if fewest is not None:
        absent = np.arange(paths) >= rng.integers(fewest, paths + 1, users)[:, None]
        for values in columns:
            values[absent] = np.nan
    return Rays(*columns)


def canyon_rays() -> Rays:
    """All paths of the embedded canyon at 3.5 GHz."""
    from wfm_datasets.deepmimo.scenario import read_scenario

    scenario = read_scenario("embedded:canyon_3p5", 1)
    return scenario.rays.take(scenario.served)


def ours(rays: Rays, out: np.ndarray[Any, np.dtype[np.complex64]] | None) -> Callable[[], object]:
    """Our synthesis into `out`, or into a new array."""
    return lambda: synthesise(rays, antennas=ANTENNAS, subcarriers=SUBCARRIERS, spacing_hz=SPACING_HZ, out=out)


def deepmimo_cold(rays: Rays) -> Callable[[], Any]:
    """DeepMIMO's generator on the same rays, its caches emptied before every call."""
    with quiet():
        import deepmimo
        from deepmimo.core.scene import Scene
        from deepmimo.datasets.dataset import Dataset
    table = {name: getattr(rays, field) for name, field in FIELDS.items()}
    # Arrival angles and interactions play no part with one isotropic antenna, but DeepMIMO wants to see them.
    extra = {"aoa_az": rays.aod_az_deg, "aoa_el": rays.aod_el_deg, "inter": np.where(rays.present, 1.0, np.nan)}
    places = {"rx_pos": np.zeros((len(rays), 3), np.float32), "tx_pos": np.zeros((1, 3), np.float32)}
    places |= {"scene": Scene(), "rt_params": {"frequency": 3.5e9}}
    setting = {
        "subcarriers": SUBCARRIERS,
        "selected_subcarriers": np.arange(SUBCARRIERS),
        "bandwidth": SUBCARRIERS * SPACING_HZ,
    }
    array = {"shape": [ANTENNAS, 1], "rotation": [0, 0, 0]}

    def call() -> Any:
        with quiet():
            dataset = Dataset({**table, **extra, **places})
            parameters = deepmimo.ChannelParameters(bs_antenna=array, ofdm=setting, num_paths=rays.power_db.shape[1])
            return dataset.compute_channels(parameters)[:, 0]

    return call


@contextlib.contextmanager
def quiet() -> Any:
    """Swallow what DeepMIMO prints and warns."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def error(h: Any, truth: Any) -> float:
    """Largest error of a user relative to the norm of that user's channel."""
    flat = np.asarray(truth).reshape(len(truth), -1)
    difference = np.linalg.norm(np.asarray(h).reshape(flat.shape) - flat, axis=1)
    return float((difference / np.linalg.norm(flat, axis=1)).max())


def peak_bytes(code: str) -> int:
    """Peak resident memory of `work()` over what was resident before it, in a process of its own."""
    frame = f"""
import sys, resource
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "datasets")!r}, {str(ROOT / "tests" / "speed")!r}]
from bench_channels import *
{code}
def resident(key):
    return int(next(l for l in open('/proc/self/status') if l.startswith(key)).split()[1]) * 1024
open('/proc/self/clear_refs', 'w').write('5')
before = resident('VmRSS')
work()
print(resident('VmHWM') - before)
"""
    done = subprocess.run([sys.executable, "-c", frame], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1])


def main() -> list[Row]:
    """Time, memory and error."""
    sys.path.insert(0, str(ROOT))
    from tests.core.signal.slow import slow_channels

    rows = []
    cases = {
        "10,000 users x 25 paths": (random_rays(10_000, 25), 3.0),
        "10,000 users, 1-15 paths": (random_rays(10_000, 15, fewest=1), None),
        "embedded canyon, 2,162 users": (canyon_rays(), None),
    }
    for name, (rays, goal) in cases.items():
        out = np.empty((len(rays), ANTENNAS, SUBCARRIERS), np.complex64)
        peer = deepmimo_cold(rays)
        seconds = compare({"wfm": ours(rays, out), "new array": ours(rays, None), "deepmimo": peer}, repeats=7)
        note = f"{seconds['deepmimo'] * 1e3:.0f} ms / {seconds['wfm'] * 1e3:.0f} ms CPU"
        rows.append(
            Row(f"channels: {name}, over DeepMIMO cold", seconds["deepmimo"] / seconds["wfm"], "x", goal, True, note)
        )
        rows.append(Row(f"channels: {name}, into a new array", seconds["deepmimo"] / seconds["new array"], "x"))
        rows.append(Row(f"channels: {name}, rate", len(rays) / seconds["wfm"], "user/s"))
        some = slice(0, None, max(1, len(rays) // 150))
        truth = slow_channels(rays.take(some), ANTENNAS, SUBCARRIERS, SPACING_HZ)
        theirs = peer()
        bound = f"DeepMIMO's own: {error(theirs[some], truth):.1e}"
        rows.append(Row(f"channels: {name}, error to float64", error(out[some], truth), "norm", 1e-6, False, bound))
        rows.append(Row(f"channels: {name}, error to DeepMIMO", error(out, theirs), "norm", 5e-5, False))
    stream = f"""
rays = random_rays(100_000, 25)
def work():
    out = np.empty(({PART}, ANTENNAS, SUBCARRIERS), np.complex64)
    for start in range(0, 100_000, {PART}):
        part = rays.take(slice(start, start + {PART}))
        ours(part, out[: len(part)])()
"""
    whole = "call = deepmimo_cold(random_rays(100_000, 25))\ndef work(): call()"
    note = f"parts of {PART}; DeepMIMO {peak_bytes(whole) / 1e9:.2f} GB"
    rows.append(
        Row("channels: peak memory, 100,000 users x 25 paths", peak_bytes(stream) / 1e9, "GB", 0.25, False, note)
    )
    return rows
