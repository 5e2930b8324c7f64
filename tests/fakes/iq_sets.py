"""Tiny files in the true layouts of published I/Q data sets."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tests.fakes.wavesfm import python2_pickle, rml_arrays
from wfm_datasets.iq.formats.radioml2018 import CLASSES

Array = NDArray[Any]


def noise(*shape: int, seed: int = 0) -> NDArray[np.complex64]:
    """Complex noise."""
    rng = np.random.default_rng([31, seed, *shape])
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def radioml(path: Path, form: str = "python2", frames: int = 12) -> dict[tuple[str, int], Array]:
    """RadioML 2016 or RML22 as `form` writes it: python2, python2-text, or protocol 2 to 5 of Python 3."""
    arrays = rml_arrays(frames)
    if form.startswith("python2"):
        path.write_bytes(python2_pickle(arrays, text=form.endswith("text")))
    else:
        path.write_bytes(pickle.dumps(arrays, int(form)))
    return arrays


def radioml2018(
    path: Path, examples: int = 96, length: int = 64, *, column: bool = True, chunked: bool = True, wrong: bool = True
) -> tuple[Array, Array, Array]:
    """X, Y, Z of 2018.01A and, unless it is left out, the classes.txt in its published, wrong order."""
    rng = np.random.default_rng(37)
    samples = rng.standard_normal((examples, length, 2)).astype(np.float32)
    number = np.arange(examples) // (examples // 24)
    hot = (number[:, None] == np.arange(24)).astype(np.int64)
    snr = (np.arange(examples) % 26 * 2 - 20).astype(np.int64)
    with h5py.File(path, "w") as file:
        options: dict[str, Any] = {"chunks": (8, length, 2)} if chunked else {}
        file.create_dataset("X", data=samples, **options)
        file["Y"], file["Z"] = hot, snr[:, None] if column else snr
    if wrong:
        names = [*CLASSES[7:], *CLASSES[:7]]
        lines = ",\n ".join(f"'{name}'" for name in names)
        path.with_name("classes.txt").write_text(f"classes = [{lines}]\n")
    return samples, number, snr


def signals(count: int = 6, length: int = 50) -> list[dict[str, Any]]:
    """TorchSig signals with one component each, alternating between three classes."""
    names = ("qpsk", "ofdm-64", "chirpss")
    return [
        {
            "data": noise(length, seed=index),
            "components": [
                {
                    "class_name": names[index % 3], "snr_db": float(index), "center_freq": 1e5, "bandwidth": 2e5,
                    "start_in_samples": 5, "duration_in_samples": length - 10,
                }
            ],
        }
        for index in range(count)
    ]  # fmt: skip


def crowded(count: int = 3, length: int = 50) -> list[dict[str, Any]]:
    """Signals with two components each."""
    made = signals(count, length)
    for signal in made:
        signal["components"].append({**signal["components"][0], "class_name": "tone", "center_freq": -1e6})
    return made


def torchsig_json(meta: Mapping[str, Any]) -> str:
    """Metadata as version 1 of `torchsig-json` writes them; one value is a NumPy scalar."""
    items = dict(meta)
    if "snr_db" in items:
        items["snr_db"] = npy_scalar(items["snr_db"])
    return json.dumps({"__torchsig_type__": "dict", "items": items}, separators=(",", ":"), sort_keys=True)


def npy_scalar(value: float) -> dict[str, Any]:
    """A NumPy scalar in that JSON: the bytes of a .npy file."""
    import base64
    from io import BytesIO

    stream = BytesIO()
    np.save(stream, np.float64(value))
    data = base64.b64encode(stream.getvalue()).decode()
    return {"__torchsig_type__": "ndarray", "data": data, "scalar": True}


PACKED = (
    *("index", "records", "data", "dtypes", "shapes", "components"),
    *("metadata", "parent_records", "parent_metadata"),
)
FEATURES = ("mixed_dtypes", "variable_shapes", "component_signals", "hierarchical_metadata")


def torchsig_packed(
    path: Path, of: Sequence[Mapping[str, Any]], *, complete: bool = True, features: Sequence[str] = (), major: int = 1
) -> None:
    """Packed schema 1.0: one stream for each type, tables beside; the sampling rate is known to a parent."""
    record = [
        ("data_offset", "u8"), ("data_length", "u8"), ("dtype_id", "u4"), ("shape_offset", "u8"),
        ("shape_count", "u2"), ("component_offset", "u8"), ("component_count", "u4"), ("parent_id", "u8"),
    ]  # fmt: skip
    none = (1 << 64) - 1
    rows, metadata, index = [], [], []
    shapes: list[int] = []
    links: list[int] = []
    streams: dict[str, list[Array]] = {}

    def add(data: Array, meta: Mapping[str, Any], children: Sequence[int], parent: int) -> None:
        stream = streams.setdefault(data.dtype.str, [])
        place = sum(array.size for array in stream)
        rows.append(
            (
                place,
                data.size,
                list(streams).index(data.dtype.str),
                len(shapes),
                data.ndim,
                len(links),
                len(children),
                parent,
            )
        )
        stream.append(data.reshape(-1))
        shapes.extend(data.shape)
        links.extend(children)
        metadata.append(torchsig_json(meta))

    for signal in of:
        number = len(rows)
        index.append(number)
        below = signal["components"]
        add(signal["data"], signal.get("meta", {}), range(number + 1, number + 1 + len(below)), 1)
        for component in below:
            add(signal["data"][..., 5:-5] * 2, component, (), none)
    datasets: dict[str, Any] = {
        name: {"path": f"/{name}", "role": name, "dtype": None, "fields": None, "encoding": None} for name in PACKED
    }
    datasets["records"]["fields"] = {name: name for name, _ in record}
    datasets["parent_records"]["fields"] = {"parent_id": "parent_id"}
    for name in ("metadata", "parent_metadata"):
        datasets[name]["encoding"] = {"name": "torchsig-json", "version": 1}
    schema = {
        "format": "torchsig-packed", "schema_major": major, "schema_minor": 0, "datasets": datasets,
        "required_features": [*FEATURES, *features],
        "sentinels": {"no_parent": none},
    }  # fmt: skip
    text = h5py.string_dtype("utf-8")
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs.update({"torchsig_version": "2.2.0", "format": "torchsig-packed", "compression": "lzf"})
        file.attrs["complete"] = complete
        file.create_dataset("schema", data=json.dumps(schema, separators=(",", ":"), sort_keys=True), dtype=text)
        for number, arrays in enumerate(streams.values()):
            file.create_dataset(
                f"data/{number}",
                data=np.concatenate(arrays),
                chunks=True,
                compression="lzf",
                shuffle=True,
                fletcher32=True,
            )
        file.create_dataset("dtypes", data=list(streams), dtype=text)
        file.create_dataset("records", data=np.array(rows, record), chunks=True)
        file.create_dataset("metadata", data=metadata, dtype=text)
        file.create_dataset("components", data=np.array(links, np.uint64))
        file.create_dataset("shapes", data=np.array(shapes, np.uint64))
        file.create_dataset("index", data=np.array(index, np.uint64))
        file.create_dataset("parent_records", data=np.array([(none,), (0,)], [("parent_id", "u8")]))
        parents = [torchsig_json({"sample_rate": 1e7}), torchsig_json({"dataset": "test"})]
        file.create_dataset("parent_metadata", data=parents, dtype=text)


def torchsig_homogeneous(path: Path, of: Sequence[Mapping[str, Any]], *, complete: bool = True) -> None:
    """Homogeneous schema 1."""
    text = h5py.string_dtype("utf-8")
    data = np.stack([signal["data"] for signal in of])
    below = [component for signal in of for component in signal["components"]]
    ends = np.cumsum([0, *(len(signal["components"]) for signal in of)])
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs.update({"format": "torchsig-homogeneous", "schema_version": 1, "compression": "lzf"})
        file.attrs["complete"] = complete
        file.create_dataset("data", data=data, chunks=(2, *data.shape[1:]), compression="lzf", fletcher32=True)
        file.create_dataset("metadata", data=[torchsig_json({"sample_rate": 1e7}) for _ in of], dtype=text)
        file.create_dataset("component_offsets", data=ends.astype(np.uint64))
        file.create_dataset("component_metadata", data=[torchsig_json(meta) for meta in below], dtype=text)


def torchsig_indexed(path: Path, of: Sequence[Mapping[str, Any]]) -> None:
    """2.1: a dataset for each signal and each field, keys that say nothing, the rate known to a parent."""
    filters = {"chunks": True, "compression": "lzf", "shuffle": True, "fletcher32": True}
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs.update({"torchsig_version": "2.1.0", "created_by": "TorchSig HDF5FileHandler"})
        data, metadata, index, components = (
            file.create_group(name) for name in ("data", "metadata", "index", "component_signals")
        )
        metadata.create_group("999")["sample_rate"] = 1e7
        key = 140000
        for number, signal in enumerate(of):
            own, key = str(key), key + 7
            data.create_dataset(own, data=signal["data"], **filters)
            metadata.create_group(own)["parent_metadata_id"] = "999"
            children = []
            for component in signal["components"]:
                child, key = str(key), key + 7
                children.append(child)
                data.create_dataset(child, data=signal["data"][5:-5], **filters)
                group = metadata.create_group(child)
                for field, value in component.items():
                    group[field] = value
            components.create_dataset(own, data=children)
            index[str(number)] = own


def torchsig_grouped(path: Path, of: Sequence[Mapping[str, Any]]) -> None:
    """2.0: a group for each signal."""
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs.update({"torchsig_version": "2.0.0", "created_by": "TorchSig HDF5FileHandler"})
        for number, signal in enumerate(of):
            file[f"{number}/data"] = signal["data"]
            for place, component in enumerate(signal["components"]):
                for field, value in (component | {"sample_rate": 1e7}).items():
                    file[f"{number}/metadata/{place}/{field}"] = value


def torchsig_npy(folder: Path, count: int = 3, length: int = 40) -> list[Array]:
    """Two .npy files, metadata.csv without a head line, info.json."""
    folder.mkdir(parents=True)
    arrays = [noise(count, length, seed=50 + part) for part in range(2)]
    for part, array in enumerate(arrays):
        np.save(folder / f"part{part}.npy", array)
    rows = [f"{index},{('BPSK', 'QPSK')[index % 2]},{index % 2},1000000.0\n" for index in range(2 * count)]
    (folder / "metadata.csv").write_text("".join(rows))
    (folder / "info.json").write_text(json.dumps({"size": 2 * count}))
    return arrays


def matlab73(
    path: Path, variables: Mapping[str, Any], *, text: bytes = b"MATLAB 7.3 MAT-file", chunked: bool = False
) -> None:
    """MATLAB v7.3: 512 bytes, HDF5 behind them, axes reversed, complex numbers as pairs, text as uint16."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            if isinstance(value, str):
                made = file.create_dataset(name, data=np.array([[ord(c)] for c in value], np.uint16))
                made.attrs["MATLAB_class"] = np.bytes_("char")
                continue
            array = np.ascontiguousarray(np.atleast_2d(value).T)
            kind = array.dtype
            if kind.kind == "c":
                part = np.dtype(f"f{kind.itemsize // 2}")
                array = array.view(np.dtype([("real", part), ("imag", part)]))
            made = file.create_dataset(name, data=array, chunks=True if chunked else None)
            made.attrs["MATLAB_class"] = np.bytes_({"f": "double", "c": "double"}.get(kind.kind, kind.name))
    with path.open("r+b") as stream:
        stream.write(text.ljust(124) + b"\x00\x02IM")


def matlab_string(name: str) -> bytes:
    """An element of a v5 file with MATLAB's `string` object, which nobody else reads."""

    def element(kind: int, data: bytes) -> bytes:
        return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)

    numbers = element(6, struct.pack("<II", 13, 0)) + element(5, struct.pack("<ii", 6, 1)) + element(1, b"")
    numbers += element(6, struct.pack("<6I", 0xDD000000, 2, 1, 1, 1, 1))
    body = element(6, struct.pack("<II", 17, 0)) + element(1, name.encode()) + element(1, b"MCOS")
    return element(14, body + element(1, b"string") + element(14, numbers))


def oracle(folder: Path, kind: str = "<c16", samples: int = 200, declared: str = "cf32") -> NDArray[np.complex64]:
    """One pair of the KRI set: nested metadata, and a type that they do not tell."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / "WiFi_air_X310_3123D7B_8ft_run2"
    values = noise(samples, seed=9)
    values.astype(kind).tofile(f"{stem}.sigmf-data")
    meta = {
        "_metadata": {
            "global": {"core:datatype": declared, "core:sample_rate": 5000000.0, "core:version": "0.0.1"},
            "captures": [{"core:sample_start": 0, "core:center_frequency": 2450000000.0}],
            "annotations": [{"core:sample_start": 0, "core:sample_count": samples}],
        },
        "schema": None,
    }
    Path(f"{stem}.sigmf-meta").write_text(json.dumps(meta, indent=4))
    return values
