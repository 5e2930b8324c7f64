"""The errors that `wfm` reports to people.

    WfmError                 exit code 1: the work itself failed (disk full, loss not finite ...)
    ├── InputError           exit code 2: a file, store or value given by the user cannot be used
    │   ├── RecipeError      a recipe or an override is wrong
    │   └── StoreError       a store or run is unfinished, damaged or of another kind
    ├── MissingExtraError    exit code 2: an optional package is not installed
    └── Requeue              exit code 75: saved on SIGTERM/SIGUSR1, start again with --resume

Anything else that reaches the front door is a bug. Messages are one line that names the file and the field;
`hint` says what to do about it.
"""

from __future__ import annotations


class WfmError(Exception):
    """An expected failure: `message` says what is wrong, `hint` what to do, `exit_code` what the shell sees."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[WfmError], tuple[str, str | None]]:
        # Exceptions cross process pools: the default reduction would drop the hint.
        return type(self), (self.message, self.hint)


class InputError(WfmError):
    """What the user gave cannot be used; nothing has been written."""

    exit_code = 2


class RecipeError(InputError):
    """A recipe or a `--set` override is wrong; the message holds one line for every mistake."""


class StoreError(InputError):
    """A store or a run is unfinished, damaged, of another version or of another kind."""


class MissingExtraError(WfmError):
    """An optional package is missing."""

    exit_code = 2

    def __init__(self, message: str, hint: str | None = None, *, extra: str | None = None) -> None:
        super().__init__(message, hint or (f"pip install 'wfm-toolkit[{extra}]'" if extra else None))


class Requeue(WfmError):
    """The run was asked to stop by a signal and has saved its state."""

    exit_code = 75
