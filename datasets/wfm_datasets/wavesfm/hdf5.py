"""HDF5 files whose damage shows at any moment, in any of h5py's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from wfm_datasets.deepmimo.files import damaged


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, for reading.

    Raises:
        InputError: it is damaged, or no HDF5 at all.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        raise damaged(path, error) from None
