"""Official checkpoints: strict in both directions, and one clear error for each kind of broken file."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.fakes.lwm import official_state
from wfm_cli.core.models import build_encoder
from wfm_cli.core.models.import_lwm import load_official
from wfm_cli.core.recipe.models import LWMModel
from wfm_cli.errors import InputError

PUBLISHED = {
    "v1.0": {"width": 64, "heads": 12, "rows": 129, "ffn": 256},
    "v1.1": {"width": 128, "heads": 8, "rows": 513, "ffn": 512},
    "spectro": {"width": 128, "heads": 8, "rows": 1025, "ffn": 512},
}
TENSORS = {"v1.0": 227, "v1.1": 203, "spectro": 203}


def save(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save(state, path)
    return path


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wiring", list(PUBLISHED))
def test_published_files_are_told_apart(tmp_path: Path, wiring: str, prefix: str) -> None:
    state = official_state(wiring, layers=12, **PUBLISHED[wiring])
    path = save(tmp_path / "w.pth", {prefix + name: value for name, value in state.items()})
    block, weights, info = load_official(path)
    assert getattr(block, "wiring", block.kind.removeprefix("lwm_")) == wiring
    assert (block.layers, block.heads) == (12, PUBLISHED[wiring]["heads"])
    assert (info["wiring"], info["tensors"], info["bytes"]) == (wiring, TENSORS[wiring], path.stat().st_size)
    assert info["parameters"] == sum(value.numel() for value in state.values())
    encoder = build_encoder(block, (128, 128) if wiring == "spectro" else (32, 32, 2))
    encoder.load_state_dict(weights, strict=True)
    assert sum(p.numel() for p in encoder.parameters()) == info["parameters"]


@pytest.mark.parametrize(("element", "rows"), [("v1.1", 1025), ("spectro", 513), ("v1.1", 65)])
def test_sizes_that_fit_no_published_file_ask_for_the_wiring(tmp_path: Path, element: str, rows: int) -> None:
    path = save(tmp_path / "w.pth", official_state(element, width=128, heads=8, rows=rows))
    with pytest.raises(InputError, match=r"neither LWM v1\.1 \(32, 513\) nor Spectro"):
        load_official(path)
    block = load_official(path, wiring=element)[0]
    assert (block.max_tokens if isinstance(block, LWMModel) else math.prod(block.grid or ()) + 1) == rows


def test_heads_of_other_widths_must_be_named(tmp_path: Path) -> None:
    path = save(tmp_path / "w.pth", official_state("v1.0", width=32, heads=5))
    with pytest.raises(InputError, match="number of heads cannot be told"):
        load_official(path)
    with pytest.raises(InputError, match="4 heads of 8 do not make the 30 rows of W_Q"):
        load_official(path, heads=4)
    assert load_official(path, heads=5)[0].heads == 5


def test_unknown_wiring(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown LWM wiring 'v2'"):
        load_official(save(tmp_path / "w.pth", official_state("v1.0")), wiring="v2")


def test_missing_and_unexpected_tensors_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    state = official_state("v1.0")
    with pytest.raises(InputError, match=r"'layers\.1\.pos_ffn\.norm\.bias' is missing"):
        load_official(save(path, {k: v for k, v in state.items() if k != "layers.1.pos_ffn.norm.bias"}))
    with pytest.raises(InputError, match=r"unexpected tensor 'classifier\.weight'"):
        load_official(save(path, {**state, "classifier.weight": torch.zeros(2)}))
    with pytest.raises(InputError, match=r"'layers\.0\.pos_ffn\.fc1\.weight' is missing"):
        load_official(save(path, {k: v for k, v in state.items() if "fc1.weight" not in k}))
    with pytest.raises(InputError, match=r"'layers\.1\.norm\.alpha' has shape \(63,\), LWM v1\.0 needs \(64,\)"):
        load_official(save(path, {**state, "layers.1.norm.alpha": torch.zeros(63)}))
    with pytest.raises(InputError, match=r"'decoder_bias' holds numbers that are not finite"):
        load_official(save(path, {**state, "decoder_bias": torch.full((16,), torch.nan)}))


def test_other_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not an LWM checkpoint"):
        load_official(save(tmp_path / "w.pth", {"conv1.weight": torch.zeros(3)}))


def test_denormals_become_zero(tmp_path: Path) -> None:
    state = official_state("v1.0")
    state["layers.0.enc_self_attn.W_Q.weight"].fill_(6e-41)
    state["linear.bias"][:3] = -1e-40
    _, weights, info = load_official(save(tmp_path / "w.pth", state))
    assert info["denormals_zeroed"] == 60 * 64 + 3
    assert torch.count_nonzero(weights["blocks.0.attention.qkv.weight"][:60]) == 0


class Payload:
    """Would run a command when unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


def broken(kind: str, path: Path) -> None:
    whole = path.with_name("whole.pth")
    save(whole, official_state("v1.0"))
    if kind == "lfs":
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:838d\nsize 2509918\n")
    elif kind == "cut zip":
        path.write_bytes(whole.read_bytes()[:-4000])
    elif kind == "legacy cut":
        torch.save(official_state("v1.0"), whole, _use_new_zipfile_serialization=False)
        path.write_bytes(whole.read_bytes()[:5000])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("<html>404</html>")
    elif kind == "code":
        path.write_bytes(pickle.dumps({"decoder_bias": Payload()}))
    elif kind == "code in zip":
        torch.save({"decoder_bias": Payload()}, path)
    elif kind == "no state dict":
        torch.save([1, 2], path)
    elif kind == "folder":
        path.mkdir()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("absent", "no such checkpoint file"),
        ("folder", "no such checkpoint file"),
        ("lfs", "a Git LFS pointer"),
        ("cut zip", "damaged or cut short"),
        ("legacy cut", "damaged or cut short"),
        ("empty", "damaged or cut short"),
        ("text", "damaged or cut short"),
        ("code", "refused, because it holds something else than tensors"),
        ("code in zip", "refused, because it holds something else than tensors"),
        ("no state dict", "not a state dict"),
    ],
)
def test_broken_files(tmp_path: Path, kind: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "w.pth"
    broken(kind, path)
    with pytest.raises(InputError, match=message) as caught:
        load_official(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.real
def test_demo_pickles_are_not_opened_as_checkpoints(real_data: Path) -> None:
    with pytest.raises(InputError):
        load_official(real_data / "lwm" / "los_label_train.p")
