"""The three wirings against the published equations and golden vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.fakes.lwm import literal_forward, official_state
from wfm_cli.core.models import build_encoder
from wfm_cli.core.models.import_lwm import load_official
from wfm_cli.core.models.lwm import WIRINGS, LWMEncoder
from wfm_cli.core.models.lwm_family import FamilyEncoder
from wfm_cli.core.recipe.models import LWMModel, LWMSpectroModel, ModelBlock
from wfm_cli.errors import InputError

SHAPES = {"v1.0": (32, 32, 2), "v1.1": (32, 32, 2), "spectro": (128, 128)}
OFFICIAL_SHA256 = "838d9f35e9e1bfd46e4c3212d00fa069f5ea02a93c0f807d25399e755b2eebbc"


def block_of(wiring: str, **sizes: object) -> ModelBlock:
    if wiring == "spectro":
        return LWMSpectroModel.model_validate(sizes)
    return LWMModel.model_validate({"wiring": wiring, **sizes})


def tiny(wiring: str = "v1.0", shape: tuple[int, ...] | None = None, **sizes: object) -> LWMEncoder:
    block = block_of(wiring, **{"layers": 2, "width": 32, "heads": 4, **sizes})
    encoder = build_encoder(block, shape or SHAPES[wiring])
    assert isinstance(encoder, FamilyEncoder)
    return encoder.eval()  # type: ignore[return-value]


def restored(path: Path, state: dict[str, Tensor], wiring: str, heads: int, shape: tuple[int, ...]) -> FamilyEncoder:
    torch.save({f"module.{name}": value for name, value in state.items()}, path)
    block, weights, _ = load_official(path, wiring=wiring, heads=heads)
    encoder = build_encoder(block, shape)
    encoder.load_state_dict(weights)
    assert isinstance(encoder, FamilyEncoder)
    return encoder.eval()


def outputs(encoder: FamilyEncoder, tokens: Tensor, masked: Tensor) -> tuple[Tensor, Tensor]:
    hidden = encoder.encode_sequence(tokens, encoder.embedding.position[: tokens.shape[1]])
    picked = hidden.gather(1, masked.unsqueeze(-1).expand(-1, -1, hidden.shape[2]))
    return encoder.reconstruct(picked), hidden


@pytest.mark.parametrize("wiring", list(WIRINGS))
def test_published_parameter_counts(wiring: str) -> None:
    encoder = build_encoder(block_of(wiring), SHAPES[wiring])
    assert sum(p.numel() for p in encoder.parameters()) == WIRINGS[wiring].parameters


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("backend", ["auto", "sdpa", "math"])
@pytest.mark.parametrize(("wiring", "width", "heads"), [("v1.0", 64, 12), ("v1.1", 32, 4), ("spectro", 32, 4)])
def test_equals_the_published_equations(
    tmp_path: Path, wiring: str, width: int, heads: int, backend: str, grad: bool
) -> None:
    state = official_state(wiring, width=width, heads=heads, rows=129)
    shape = (32, 32) if wiring == "spectro" else (16, 32, 2)
    encoder = restored(tmp_path / "w.pth", state, wiring, heads, shape)
    for block in encoder.blocks:
        block.attention.backend = backend
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(3, 20, encoder.element, generator=generator)
    masked = torch.tensor([[1, 19, 7], [2, 3, 4], [19, 1, 2]])
    with torch.set_grad_enabled(grad):
        decoded, hidden = outputs(encoder, tokens, masked)
    want_decoded, want_hidden = literal_forward(state, wiring, heads, tokens, masked)
    torch.testing.assert_close(hidden.detach().double(), want_hidden, rtol=0, atol=1e-5)
    torch.testing.assert_close(decoded.detach().double(), want_decoded, rtol=0, atol=1e-5)


def test_the_wirings_differ(tmp_path: Path) -> None:
    """The same tensors under the wrong residual wiring must not pass for equal."""
    state = official_state("v1.1", width=32, heads=4)
    tokens = torch.randn(2, 9, 32, generator=torch.Generator().manual_seed(2))
    masked = torch.ones(2, 1, dtype=torch.int64)
    _, right = literal_forward(state, "v1.1", 4, tokens, masked)
    _, wrong = literal_forward(state, "spectro", 4, tokens, masked)
    assert float((right - wrong).abs().max()) > 1e-2


@pytest.mark.real
@pytest.mark.parametrize("wiring", ["v1.1", "spectro"])
def test_golden_vectors(real_data: Path, tmp_path: Path, wiring: str) -> None:
    with np.load(real_data / "lwm" / f"lwm_{wiring}_tiny_random.npz") as golden:
        arrays = {name: torch.from_numpy(golden[name]) for name in golden.files}
    state = {name[3:]: value for name, value in arrays.items() if name.startswith("sd|")}
    encoder = restored(tmp_path / "w.pth", state, wiring, 4, (16, 16) if wiring == "spectro" else (16, 16, 2))
    with torch.no_grad():
        decoded, hidden = outputs(encoder, arrays["input_ids"], arrays["masked_pos"])
    torch.testing.assert_close(hidden, arrays["output"], rtol=0, atol=1e-5)
    torch.testing.assert_close(decoded, arrays["logits_lm"], rtol=0, atol=1e-5)


@pytest.mark.real
def test_official_checkpoint(real_data: Path) -> None:
    """Loads strictly, and shortcuts for its collapsed heads and denormals leave its outputs as they are."""
    path = real_data / "lwm" / "lwm_v1.0_model_weights.pth"
    block, weights, info = load_official(path)
    assert (info["sha256"], info["tensors"], info["parameters"]) == (OFFICIAL_SHA256, 227, 603_712)
    encoder = build_encoder(block, (32, 32, 2)).eval()
    assert isinstance(encoder, LWMEncoder)
    encoder.load_state_dict(weights)
    tokens = torch.randn(2, 129, 16, generator=torch.Generator().manual_seed(0)) * 10
    masked = torch.tensor([[1, 65], [64, 128]])
    official = torch.load(path, map_location="cpu", weights_only=True)
    want_decoded, want_hidden = literal_forward(official, "v1.0", 12, tokens, masked)
    with torch.no_grad():
        decoded, hidden = outputs(encoder, tokens, masked)
    assert [plan.live if plan else 12 for plan in encoder._plans] == [0, 5, 3, 2, 0, 0, 1, 0, 0, 0, 12, 4]
    torch.testing.assert_close(hidden.double(), want_hidden, rtol=0, atol=1e-5)
    scale = float(want_decoded.abs().max())  # the decoder brings the channel's own scale back
    torch.testing.assert_close(decoded.double() / scale, want_decoded / scale, rtol=0, atol=1e-5)


def test_v10_tokens_follow_the_published_layout() -> None:
    encoder = tiny()
    batch = torch.randn(3, 32, 32, 2)
    grid = encoder.tokenize(batch)
    assert grid.axes == ("antenna", "subcarrier", "part")
    for token in range(128):
        antenna, half, part = token % 64 // 2, token % 2, token // 64
        want = batch[:, antenna, 16 * half : 16 * half + 16, part]
        assert torch.equal(grid.values[:, token], want)
        assert grid.coords[token].tolist() == [antenna, half, part]


def test_v11_tokens_follow_the_published_layout() -> None:
    encoder = tiny("v1.1", (6, 10, 2))
    batch = torch.randn(2, 6, 10, 2)
    grid = encoder.tokenize(batch)
    padded = torch.zeros(2, 8, 12, 2)
    padded[:, :6, :10] = batch
    assert (grid.count, grid.axes) == (6, ("antenna", "subcarrier"))
    for token in range(6):
        row, column = divmod(token, 3)
        assert grid.coords[token].tolist() == [row, column]
        for a in range(4):
            for c in range(4):
                for q in range(2):
                    want = padded[:, 4 * row + a, 4 * column + c, q]
                    assert torch.equal(grid.values[:, token, 8 * a + 2 * c + q], want)


def test_spectro_tokens_are_standardised_patches() -> None:
    encoder = tiny("spectro", (8, 12))
    batch = torch.randn(2, 8, 12) * 7 - 80
    grid = encoder.tokenize(batch)
    flat = batch.flatten(1)
    want = (batch - flat.mean(1)[:, None, None]) / flat.std(1, correction=0)[:, None, None]
    assert grid.axes == ("frequency", "time")
    torch.testing.assert_close(grid.values[:, 4], want[:, 4:8, 4:8].flatten(1))
    for shape in ((1, 8, 12), (8, 12, 1)):
        other = tiny("spectro", shape).tokenize(batch.reshape(2, *shape))
        assert torch.equal(other.values, grid.values)


@pytest.mark.parametrize(
    ("wiring", "shape"),
    [("v1.0", (32, 32, 2)), ("v1.0", (8, 4, 2)), ("v1.1", (6, 10, 2)), ("spectro", (10, 7)), ("spectro", (1, 8, 8))],
)
def test_untokenize_inverts_tokenize(wiring: str, shape: tuple[int, ...]) -> None:
    encoder = tiny(wiring, shape)
    batch = torch.randn(2, *shape)
    back = encoder.untokenize(encoder.tokenize(batch).values)
    if wiring == "spectro":
        batch = (batch - batch.flatten(1).mean(1).view(2, *[1] * len(shape))) / batch.flatten(1).std(
            1, correction=0
        ).view(2, *[1] * len(shape))
    torch.testing.assert_close(back, batch)


def test_v11_takes_other_sizes_up_to_its_position_table() -> None:
    encoder = tiny("v1.1", (16, 16, 2), max_tokens=65)
    assert encoder.embed(torch.randn(2, 30, 30, 2)).shape == (2, 32)
    with pytest.raises(InputError, match=r"position table of 65 rows"):
        encoder.embed(torch.randn(2, 32, 36, 2))


@pytest.mark.parametrize(
    ("wiring", "shape", "message"),
    [
        ("v1.0", (32, 24, 2), "does not divide"),
        ("v1.0", (64, 32, 2), "position table of 129 rows"),
        ("v1.0", (32, 32), "needs channels"),
        ("v1.1", (32, 32), "needs channels"),
        ("spectro", (3, 128, 128), "needs spectrograms"),
    ],
)
def test_impossible_sizes_are_refused(wiring: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny(wiring, shape)


def test_more_heads_than_width_are_refused() -> None:
    with pytest.raises(InputError, match=r"model\.heads"):
        tiny(width=8, heads=9)


def test_v10_refuses_a_batch_of_another_shape() -> None:
    with pytest.raises(InputError, match="built for samples"):
        tiny().tokenize(torch.zeros(1, 16, 32, 2))


@pytest.mark.parametrize("grad", [False, True])
def test_keep_computes_the_visible_tokens_alone(grad: bool) -> None:
    """Dropping tokens equals running the shorter sequence with the positions of what stays."""
    encoder = tiny()
    grid = encoder.tokenize(torch.randn(2, 32, 32, 2))
    keep = torch.tensor([[5, 70, 0], [127, 2, 64]])
    with torch.set_grad_enabled(grad):
        got = encoder.encode(grid, keep)
        for row in range(2):
            cls = torch.full((1, 1, 16), 0.2)
            values = torch.cat([cls, grid.values[row : row + 1, keep[row]]], 1)
            position = encoder.embedding.position[torch.cat([torch.zeros(1, dtype=torch.int64), keep[row] + 1])]
            torch.testing.assert_close(got[row : row + 1], encoder.encode_sequence(values, position))
        order = torch.arange(128).expand(2, -1)
        torch.testing.assert_close(encoder.encode(grid, order), encoder.encode(grid))


def test_poolings() -> None:
    encoder = tiny()
    batch = torch.randn(2, 32, 32, 2)
    with torch.no_grad():
        hidden = encoder.encode(encoder.tokenize(batch))
        assert torch.equal(encoder.embed(batch), hidden[:, 0])
        torch.testing.assert_close(encoder.embed(batch, "mean"), hidden[:, 1:].mean(1))
        torch.testing.assert_close(encoder.embed(batch, "all"), hidden.mean(1))
    with pytest.raises(InputError, match="no pooling 'max'"):
        encoder.embed(batch, "max")


def test_inference_in_chunks_changes_nothing() -> None:
    encoder = tiny()
    batch = torch.randn(37, 32, 32, 2)
    with torch.no_grad():
        whole = encoder.encode(encoder.tokenize(batch))
    torch.testing.assert_close(whole, encoder.encode(encoder.tokenize(batch)).detach(), rtol=0, atol=1e-5)


def test_unused_norms_take_no_gradient() -> None:
    encoder = tiny().train()
    encoder.reconstruct(encoder.encode(encoder.tokenize(torch.randn(1, 32, 32, 2)))).sum().backward()
    missing = {name for name, p in encoder.named_parameters() if p.requires_grad and p.grad is None}
    assert missing == set()
    assert sum(not p.requires_grad for p in encoder.parameters()) == 2 * 4


def test_block_knows_all_sizes() -> None:
    block = build_encoder(LWMModel(wiring="v1.1"), (32, 32, 2)).block
    assert (block.layers, block.width, block.heads, block.ffn, block.max_tokens) == (12, 128, 8, 512, 513)


@pytest.mark.parametrize("wiring", ["v1.0", "v1.1"])
def test_power_scale_makes_tokens_blind_to_level_and_tells_it_to_cls(wiring: str) -> None:
    block = LWMModel(wiring=wiring, layers=1, scale="power", positions="sincos")  # type: ignore[arg-type]
    encoder = build_encoder(block, (32, 32, 2)).eval()
    batch = torch.randn(3, 32, 32, 2)
    near, far = encoder.tokenize(batch), encoder.tokenize(batch * 1e-4)
    assert torch.allclose(near.values, far.values, rtol=1e-5)
    assert torch.allclose(near.values.square().mean((1, 2)), torch.ones(3), rtol=1e-5)
    assert near.level_db is not None
    assert far.level_db is not None
    assert torch.allclose(near.level_db - far.level_db, torch.full((3,), 80.0), atol=1e-3)
    assert torch.allclose(near.level_db, 10 * batch.square().mean((1, 2, 3)).log10(), atol=1e-4)
    with torch.no_grad():
        assert not torch.allclose(encoder.embed(batch, "cls"), encoder.embed(batch * 1e-4, "cls"), atol=1e-3)
        silent = encoder.embed(torch.zeros(1, 32, 32, 2), "cls")
    assert torch.isfinite(silent).all()
