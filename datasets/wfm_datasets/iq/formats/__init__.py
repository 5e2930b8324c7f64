"""The formats that are read, one module each.

A module has `recognise(path, head)` (head: the first 8 KiB), `recordings(path, options)` and, where files come in
pairs, `belongs(path)`: whether a file is the companion of another one.
"""

FORMATS: tuple[str, ...] = (
    "oracle",
    "sigmf",
    "powder",
    "icarus",
    "radioml2018",
    "torchsig",
    "radcom",
    "foreign",
    "hdf5_arrays",
    "matlab",
    "radioml",
    "wav",
    "numpy_files",
    "raw",
)  # fmt: skip
"""Modules in the order in which they are asked: the most certain signs first, files without a header last."""
