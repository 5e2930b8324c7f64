"""What `wfm show` says and draws about a store or a run, finished or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Group

from wfm_cli.core.inspect.kinds import is_run
from wfm_cli.errors import InputError

__all__ = ["describe", "frame", "pictures", "render"]


def describe(path: Path | str) -> dict[str, Any]:
    """Everything about a store or a run as JSON-able values; `what` is `store` or `run`.

    Unfinished stores and runs are described as far as they have come.

    Raises:
        InputError: There is neither a store nor a run at `path`, or it is of another version.
    """
    path = Path(path)
    if is_run(path):
        from wfm_cli.core.inspect.runs import describe_run

        return describe_run(path)
    from wfm_cli.core.inspect.stores import describe_store

    return describe_store(path)


def render(path: Path | str) -> Group:
    """The description for a terminal.

    Raises:
        InputError: See `describe`.
    """
    facts = describe(path)
    if facts["what"] == "run":
        from wfm_cli.core.inspect.run_view import run_view

        return run_view(facts)
    from wfm_cli.core.inspect.store_view import store_view

    return store_view(facts)


def pictures(path: Path | str, out: Path, sample: int = 0) -> list[Path]:
    """Draw the pictures of a store or a run as PNG, 300 dpi.

    Args:
        path: Store or run.
        out: Folder for the pictures, made if needed.
        sample: Sample of a store that the pictures of one sample show.

    Returns:
        The files: for a store `channel`, `map`, `labels`, `splits`, `spectrogram`, `spectrograms`, `classes`,
        `spectra`, `frame-<sample>`, `lengths`; for a run `training`, `reconstruction`, `embeddings` and
        `confusion_<task>`; each where there is something to draw.

    Raises:
        InputError: See `describe`; the store is unfinished, there is no such sample, or `out` is a file.
    """
    path = Path(path)
    if is_run(path):
        from wfm_cli.core.inspect.run_pictures import run_pictures

        return run_pictures(path, out)
    from wfm_cli.core.inspect.store_pictures import store_pictures

    return store_pictures(path, out, sample)


def frame(path: Path | str, out: Path, number: int) -> list[Path]:
    """Draw one frame of a store of sequences into `frame-<number>.png`: sensors, track and beam powers.

    Raises:
        InputError: There is no such frame, or something else than a finished store of sequences.
    """
    path = Path(path)
    if is_run(path):
        raise InputError(f"{path}: is a run, which has no frames", "give the store that it was trained on")
    from wfm_cli.core.inspect.store_pictures import one_frame

    return one_frame(path, out, number)
