"""The variable with the samples among those of a file, and what the others say of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wfm_cli.errors import InputError
from wfm_datasets.iq.recording import Recording, Value

_RATE = ("samplerate", "fs", "samplingrate", "sampfreq", "samplefrequency")
_CENTRE = ("centerfrequency", "centrefrequency", "fc", "carrierfrequency", "centerfreq", "rffrequency")
_LABEL = ("label", "class", "modulation", "modtype", "modulationtype")


def choose(path: Path, names: Sequence[str], held: Sequence[str], wanted: str | None) -> str:
    """The only variable that may hold samples, or the one that the user names.

    Raises:
        InputError: there is none, or there are several.
    """
    if wanted is not None:
        if wanted not in held:
            raise InputError(f"{path}: holds no variable {wanted!r}", f"it holds {', '.join(held) or 'nothing'}")
        return wanted
    if not names:
        what = f"it holds {', '.join(held[:8])}" if held else "it is empty"
        raise InputError(
            f"{path}: holds no I/Q samples ({what})", "expected a complex array, or a real one with an axis of 2"
        )
    if len(names) > 1:
        raise InputError(
            f"{path}: holds several arrays of samples: {', '.join(names[:8])}", "choose with --variable NAME"
        )
    return names[0]


def hidden(names: Sequence[str]) -> tuple[str, ...]:
    """A note on values that only MATLAB reads."""
    if not names:
        return ()
    what = ", ".join(names[:8])
    return (f"only MATLAB reads {what}: a class in there has to come from folder, name or table (--label)",)


def describe(
    path: Path, form: str, kind: str, name: str, shape: Mapping[str, int], said: Mapping[str, Value],
    notes: tuple[str, ...], place: Mapping[str, Any],
) -> Recording:  # fmt: skip
    """A recording from the shape of its variable by axis, and the plain values beside it.

    Args:
        path: The file.
        form: Container, for people.
        kind: SigMF's name of the stored numbers.
        name: The variable.
        shape: Size of every axis.
        said: Plain values by name; a rate, a centre frequency and a label are recognised by their usual names.
        notes: What is worth telling.
        place: `backend` and `layout`.
    """
    known = {key.replace("_", "").casefold(): key for key in said}
    rate, centre, label = (next((known[k] for k in keys if k in known), None) for keys in (_RATE, _CENTRE, _LABEL))
    origin = {"datatype": f"type of {name}"}
    values: dict[str, Any] = {}
    for target, key in (("sample_rate", rate), ("center_frequency", centre)):
        value = said[key] if key else None
        if isinstance(value, float) and 0 < value < math.inf:
            values[target], origin[target] = value, f"{key} in the file"
    if label and isinstance(said[label], str) and said[label]:
        values["label"], origin["label"] = said[label], f"{label} in the file"
    used = {key for key in (rate, centre, label) if key}
    fields = {_field(key): value for key, value in said.items() if key not in used and value == value}  # no NaN
    counts = {axis: shape.get(axis, 1) for axis in ("channel", "time", "example")}
    if counts["channel"] > 1 or counts["example"] > 1:
        notes += (f"{name}: time along {counts['time']}, {counts['channel']} channels, {counts['example']} examples",)
    return Recording(
        name=path.stem,
        path=path,
        format=form,
        datatype=kind,
        samples=counts["time"],
        channels=counts["channel"],
        examples=counts["example"],
        fields=fields,
        origin=origin,
        notes=notes,
        **values,
        **place,
    )


def _field(key: str) -> str:
    return "snr_db" if key.casefold() in ("snrdb", "snr_db", "snr") else key
