"""The command `wfm`: the Typer app and the one place where errors become exit codes.

Only the standard library and typer are imported here and at the top of the command modules, so that help is instant.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from typing import Annotated, NoReturn

import typer

from wfm_cli._version import __version__
from wfm_cli.commands import benchmark, doctor, prepare, pretrain, probe, quickstart, recipes, report, show, weights
from wfm_cli.errors import WfmError

app = typer.Typer(
    name="wfm",
    help="From raw wireless data to honest numbers about foundation models: prepare, pretrain, probe, benchmark.",
    epilog="New here? Run `wfm quickstart`. Set WFM_DEBUG=1 to see tracebacks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        print(f"wfm {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


VERBS, LOOK, REST = "From raw files to honest numbers", "Look and share", "Set-up"
app.add_typer(prepare.app, name="prepare", rich_help_panel=VERBS)
app.command("pretrain", rich_help_panel=VERBS)(pretrain.pretrain)
app.command("probe", rich_help_panel=VERBS)(probe.probe)
app.command("benchmark", rich_help_panel=VERBS)(benchmark.benchmark)
app.command("report", rich_help_panel=LOOK)(report.report)
app.command("show", rich_help_panel=LOOK)(show.show)
app.add_typer(weights.app, name="import", rich_help_panel=LOOK)
app.command("export", rich_help_panel=LOOK)(weights.export)
app.add_typer(recipes.app, name="recipes", rich_help_panel=REST)
app.command("quickstart", rich_help_panel=REST)(quickstart.quickstart)
app.command("doctor", rich_help_panel=REST)(doctor.doctor)


def _machine_failed(error: OSError) -> NoReturn:
    """The machine, not wfm, failed: say which file, and what helps."""
    if os.environ.get("WFM_DEBUG") == "1":
        raise error
    where = f"{error.filename}: " if error.filename else ""
    print(f"error: {where}{error.strerror or error}", file=sys.stderr)
    hints = {
        errno.ENOSPC: "free some space",
        errno.EDQUOT: "free some of your quota",
        errno.EACCES: "check permissions",
    }
    again = "then give the same command again, with --resume where it has one"
    print(f"hint: {hints.get(error.errno or 0, 'check the disk and the path')}, {again}", file=sys.stderr)
    sys.exit(1)


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 bad input, 75 saved for a requeue, 130 interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names need not be text, nor terminals show every character
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except WfmError as error:
        if os.environ.get("WFM_DEBUG") == "1":
            traceback.print_exc()
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as error:
        if error.code == 130:
            print("\ninterrupted; what was finished is kept", file=sys.stderr)
        raise
    except OSError as error:
        _machine_failed(error)
    except Exception as error:
        if os.environ.get("WFM_DEBUG") == "1":
            raise
        # Not one of our errors: a defect of wfm. The traceback would bury the message, so it is asked for.
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        print("hint: this is a defect of wfm; please report it with the output of WFM_DEBUG=1", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
