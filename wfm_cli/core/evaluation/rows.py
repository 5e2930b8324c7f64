"""Lines of a table: encoders, what stands beside them, and which probes each of them takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from wfm_cli.core.evaluation.adaptation.networks import check
from wfm_cli.core.evaluation.encoders import RANDOM, ModelSource, resolve
from wfm_cli.core.evaluation.raw import RawSource
from wfm_cli.core.evaluation.source import FeatureSource
from wfm_cli.core.evaluation.units import TableRow
from wfm_cli.core.recipe.evaluate import EncoderRow, ProbeBlock
from wfm_cli.core.recipe.probes import FROZEN, STRICT, SUPERVISED, ProbeChoice, Res1DCNNProbe, named
from wfm_cli.core.store.reader import Store
from wfm_cli.core.store.sequences import INDEX
from wfm_cli.errors import InputError

Probes = tuple[ProbeChoice, ...]


def table_rows(
    store: Store, tested: Iterable[EncoderRow], beside: Iterable[EncoderRow], block: ProbeBlock
) -> tuple[TableRow, ...]:
    """Every line with its features and probes, encoders under test first; an encoder that is named twice stands once.

    Encoders under test take the probes that were asked for; rows beside them those that leave weights alone.
    Supervised training from scratch belongs to an architecture, not to a pretraining: it stands with the untrained
    encoder, which is added where it is missing. Networks on raw samples (`cnn`, `resnet18`) know no encoder and stand
    once, in rows of their own. Probes that see tokens stand once for all poolings.

    Raises:
        InputError: An encoder does not exist, does not fit the store, or cannot be probed as asked for.
    """
    device, scratch = _device(block), _Scratch()
    table: list[TableRow] = []
    attended: set[tuple[str, str]] = set()
    networks = dict.fromkeys(p for p in block.choices if p.kind in SUPERVISED)
    for row, under_test in (*((row, True) for row in tested), *((row, False) for row in beside)):
        if any(row.encoder == known.source.spec for known in table):
            continue
        source = resolve(row.encoder, store, seed=block.seed, device=device)
        if INDEX in source.arrays:
            raise InputError(
                f"{row.encoder}: embeds windows of frames, the tasks label single samples",
                "ask for predictions: localisation, beam_prediction, rssi_prediction",
            )
        asked = (row.probes or block.choices) if under_test else block.choices
        networks |= dict.fromkeys(p for p in asked if p.kind in SUPERVISED)
        asked = tuple(p for p in asked if p.kind not in SUPERVISED)
        probes = _tested(source, asked) if under_test else _beside(source, asked)
        probes = tuple(p for p in probes if not _sees_tokens(p) or _first(attended, source, p))
        if under_test:
            scratch.ask(source, asked)
        table.append(TableRow(row.label or source.name, source, probes))
    table += [_from_scratch(choice, store, device) for choice in networks]
    return tuple(row for row in scratch.place(table, store, block.seed, device) if row.probes or _naive(row.source))


def _from_scratch(choice: ProbeChoice, store: Store, device: str) -> TableRow:
    """The row of a network on raw samples."""
    source = RawSource(choice.name, store, device)
    return TableRow(source.name, source, (choice,))


def _sees_tokens(choice: ProbeChoice) -> bool:
    return choice.kind == "attentive" or (isinstance(choice, Res1DCNNProbe) and choice.input == "tokens")


class _Scratch:
    """Which architectures are to be trained from scratch, each named by the first encoder that has it."""

    def __init__(self) -> None:
        self._wanted: dict[str, tuple[ModelSource, Probes]] = {}

    def ask(self, source: FeatureSource, asked: Probes) -> None:
        """Remember the architecture of `source` if it is to be trained from scratch."""
        probes = tuple(p for p in asked if p.kind == "scratch")
        if probes and isinstance(source, ModelSource):
            self._wanted.setdefault(source.architecture, (source, probes))

    def place(self, table: Sequence[TableRow], store: Store, seed: int, device: str) -> list[TableRow]:
        """The table with the probe on the first untrained row of each architecture, or on one more row."""
        rows, wanted = list(table), dict(self._wanted)
        for index, row in enumerate(rows):
            if row.source.role == "control" and isinstance(row.source, ModelSource):
                _, probes = wanted.pop(row.source.architecture, (None, ()))
                rows[index] = replace(row, probes=(*row.probes, *probes))
        for source, probes in wanted.values():
            control = resolve(f"{RANDOM}{source.spec}", store, seed=seed, device=device)
            rows.append(TableRow(control.name, control, probes))
        return rows


def _tested(source: FeatureSource, asked: Probes) -> Probes:
    """Probes of a row under test: all that were asked for, as far as it has weights to change."""
    if _naive(source):
        return ()
    if not isinstance(source, ModelSource):
        strict = tuple(p for p in asked if p.kind in STRICT)
        if asked and not strict:
            raise InputError(
                f"{source.spec}: it has no weights to adapt ({', '.join(p.name for p in asked)})",
                f"ask for one of: {', '.join(STRICT)}",
            )
        return strict
    probes = tuple(p for p in asked if p.kind != "scratch")
    for probe in probes:
        check(probe, source.encoder)
    return probes


def _beside(source: FeatureSource, asked: Probes) -> Probes:
    """Probes of a row that stands beside those under test: the ones that change no weights, or else the linear one."""
    if _naive(source):
        return ()
    kinds = FROZEN if isinstance(source, ModelSource) else STRICT
    return tuple(p for p in asked if p.kind in kinds) or (named("linear"),)


def _naive(source: FeatureSource) -> bool:
    return source.role == "reference"


def _first(seen: set[tuple[str, str]], source: FeatureSource, probe: ProbeChoice) -> bool:
    key = (source.weights, repr(probe))
    known = key in seen
    seen.add(key)
    return not known


def _device(block: ProbeBlock) -> str:
    import torch

    if block.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if block.device == "cuda" and not torch.cuda.is_available():
        raise InputError("probe.device: cuda is not available on this machine", "use probe.device=auto")
    return block.device
