"""The compiled CPU attention kernel: built on first use, cached, and silently left out where it cannot be built.

`WFM_NATIVE=0` switches it off; `WFM_CACHE_DIR` moves the cache (default `~/.cache/wfm`).
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)

HEAD_DIMS = (4, 5, 8)
"""Head sizes that have a kernel; from 16 on the fused kernel of torch is as fast."""

_SOURCE = Path(__file__).with_name("attention_cpu.cpp")


def applies(qkv: Tensor) -> bool:
    """Whether the kernel can take this (B, N, 3, H, d) tensor; builds it at the first call that could."""
    return qkv.device.type == "cpu" and qkv.shape[-1] in HEAD_DIMS and available()


def attention(qkv: Tensor) -> Tensor:
    """Attention of small heads in float32: (B, N, 3, H, d) -> (B, N, H * d). Differentiable once."""
    mixed: Tensor = torch.ops.wfm.attention_forward(qkv.float())[0]
    return mixed


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def available() -> bool:
    """Whether the kernel is built and loaded in this process; the first call tries to."""
    return _loaded()


@lru_cache(maxsize=1)
def _loaded() -> bool:
    if os.environ.get("WFM_NATIVE") == "0":
        return False
    try:
        torch.ops.load_library(str(_library()))  # type: ignore[no-untyped-call]
        _register()
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        log.info("compiled attention is not available, torch's own is used: %s", error)
        return False
    return True


def _library() -> Path:
    """The shared library for this source, compiler, torch and processor; compiled if it is not cached."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        raise OSError("no C++ compiler (g++) on the path")
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    command = [compiler, *_flags()]
    key = "\n".join([_SOURCE.read_text(encoding="utf-8"), *command, version, torch.__version__, _processor()])
    folder = Path(os.environ.get("WFM_CACHE_DIR") or Path.home() / ".cache" / "wfm")
    library = folder / f"attention-{hashlib.sha256(key.encode()).hexdigest()[:20]}.so"
    if not library.exists():
        _compile(command, library)
    return library


def _flags() -> list[str]:
    root = Path(torch.__file__).parent
    return [
        *("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
        *("-std=c++20", "-shared", "-fPIC", "-fopenmp"),
        f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
        f"-I{root / 'include'}",
        f"-I{root / 'include' / 'torch' / 'csrc' / 'api' / 'include'}",
        f"-L{root / 'lib'}",
    ]


def _compile(command: list[str], library: Path) -> None:
    """Compile beside the target and move it there, so that processes that start together never see half a file."""
    library.parent.mkdir(parents=True, exist_ok=True)
    log.info("compiling the CPU attention kernel into %s (once)", library.parent)
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        fresh = Path(scratch) / library.name
        done = subprocess.run(
            [*command, str(_SOURCE), "-o", str(fresh), "-ltorch_cpu", "-lc10"],
            capture_output=True,
            text=True,
            timeout=300,
        )
        if done.returncode != 0:
            raise OSError(f"the compiler failed: {done.stderr.strip().splitlines()[0][:200]}")
        fresh.replace(library)


def _processor() -> str:
    """What `-march=native` stands for on this machine; home folders are often shared by unlike nodes."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(
        sorted({line for line in text.splitlines() if line.startswith(("flags", "Features", "model name"))})
    )


@lru_cache(maxsize=1)
def _register() -> None:
    """Tell torch the shapes (for `torch.compile`) and the gradient of the kernel."""
    ops: Any = torch.ops.wfm

    def fake(qkv: Tensor) -> tuple[Tensor, Tensor]:
        batch, tokens, _, heads, depth = qkv.shape
        return qkv.new_empty(batch, tokens, heads * depth), qkv.new_empty(batch, heads, tokens)

    def fake_backward(qkv: Tensor, out: Tensor, lse: Tensor, grad: Tensor) -> Tensor:
        return torch.empty_like(qkv, memory_format=torch.contiguous_format)

    def save(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(inputs[0], *output)

    def gradient(ctx: Any, grad: Tensor, _: Tensor) -> Tensor:
        qkv, out, lse = ctx.saved_tensors
        result: Tensor = ops.attention_backward(qkv, out, lse, grad)
        return result

    torch.library.register_fake("wfm::attention_forward", fake)
    torch.library.register_fake("wfm::attention_backward", fake_backward)
    torch.library.register_autograd("wfm::attention_forward", gradient, setup_context=save)
