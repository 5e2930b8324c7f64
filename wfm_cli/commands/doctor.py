"""`wfm doctor`: what is installed, what is missing, what this machine offers."""

from __future__ import annotations

from typing import Any

from wfm_cli.commands.common import Json, print_json, print_rich

REQUIRED = ("torch", "numpy", "scipy", "zarr", "deepmimo", "typer", "rich", "pydantic", "ruamel.yaml", "matplotlib")
EXTRAS = {
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow-skinny",
    "scenes": "sionna-rt",
}


def doctor(as_json: Json = False) -> None:
    """Show versions, devices, optional extras and what is missing. Exit code 1 if something required is.

    Example: wfm doctor
    """
    facts = _facts()
    if as_json:
        print_json(facts)
    else:
        print_rich(_table(facts))
    if facts["missing"]:
        from wfm_cli.errors import WfmError

        raise WfmError(f"missing: {', '.join(facts['missing'])}", "pip install wfm-toolkit again")


def _facts() -> dict[str, Any]:
    import os
    import platform
    import shutil
    from importlib.metadata import PackageNotFoundError, version

    def found(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    packages = {name: found(name) for name in REQUIRED}
    extras = {extra: found(package) for extra, package in EXTRAS.items()}
    return {
        "wfm": found("wfm-toolkit"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "free_disk_gb": round(shutil.disk_usage(".").free / 1e9, 1),
        "packages": packages,
        "devices": _devices() if packages["torch"] else [],
        "bf16_linear": _bf16() if packages["torch"] else None,
        "compiler": shutil.which("g++") or shutil.which("c++"),
        "extras": extras,
        "llvm": _llvm() if extras["scenes"] else None,
        "missing": [name for name, ver in packages.items() if ver is None],
    }


def _devices() -> list[str]:
    import torch

    cuda = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    return [f"cpu ({torch.get_num_threads()} threads)", *cuda]


def _bf16() -> bool:
    from pathlib import Path

    try:
        return "avx512_bf16" in (text := Path("/proc/cpuinfo").read_text()) or "amx_bf16" in text
    except OSError:
        return False


def _llvm() -> str:
    """Dr.Jit aborts the process on an LLVM older than 17, so the question is asked in a process of its own."""
    import subprocess
    import sys

    probe = "import drjit as dr; import drjit.llvm as l; print(dr.maximum(l.Float([1.0]), 0.0))"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=120, check=False)
    return "works" if result.returncode == 0 else "does not work: install LLVM 19 and set DRJIT_LIBLLVM_PATH"


def _table(facts: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column()
    for key in ("wfm", "python", "platform", "cores", "free_disk_gb"):
        table.add_row(key.replace("_", " "), str(facts[key]))
    table.add_row("devices", "\n".join(facts["devices"]) or "-")
    table.add_row("bf16 in hardware", {True: "yes", False: "no", None: "-"}[facts["bf16_linear"]])
    table.add_row("C++ compiler", facts["compiler"] or "none found")
    for name, ver in facts["packages"].items():
        table.add_row(name, ver or "[red]missing[/red]")
    for name, ver in facts["extras"].items():
        table.add_row(f"extra {name}", ver or f"not installed (pip install 'wfm-toolkit\\[{name}]')")
    if facts["llvm"]:
        table.add_row("LLVM for scenes", facts["llvm"])
    return table
