"""LWM v1.0 on one CPU thread, against the published block written out literally.

The literal block is ours, after the published equations: three projections, a matrix product, a softmax and another
matrix product per layer, a norm out of primitive operations, torch's dropout and Adam. Denormals are left as they are.
CPU time includes the system's: with glibc's default settings the literal block's 50 MB attention matrices are mapped
and cleared anew in every layer, over 40 % of its time. Where the allocator keeps such blocks (MALLOC_MMAP_THRESHOLD_,
MALLOC_TRIM_THRESHOLD_ of 1 GiB) the literal block is 1.7 to 2.2 times as fast, and the ratios shrink by as much.
The row with official weights needs the checkpoint below WFM_TEST_DATA (default ../shared/data beside the checkout).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from measure import Row, compare
from torch import Tensor, nn

from wfm_cli.core.masking.corrupt import corrupt
from wfm_cli.core.models import build_encoder
from wfm_cli.core.models.blocks import native
from wfm_cli.core.models.import_lwm import load_official
from wfm_cli.core.models.lwm import LWMEncoder
from wfm_cli.core.objectives import StepKey, build_objective
from wfm_cli.core.objectives.masks import MaskSampler
from wfm_cli.core.recipe.models import LWMModel
from wfm_cli.core.recipe.pretrain import DataBlock, MaskBlock, PretrainRecipe, TrainBlock

BATCH = 64
LAYERS, WIDTH, HEADS, DEPTH, INNER, TOKENS, ELEMENT, HIDDEN = 12, 64, 12, 5, 256, 129, 16, 18
FLOP = 2 * BATCH * TOKENS * LAYERS * (4 * WIDTH * HEADS * DEPTH + 2 * WIDTH * INNER + 2 * TOKENS * HEADS * DEPTH)
"""Floating-point operations of one forward pass over a batch, multiplications and additions counted apart; a training
step takes three times as many."""
CHECKPOINT = Path("lwm") / "lwm_v1.0_model_weights.pth"


class LiteralNorm(nn.Module):
    """alpha * (x - mean) / (unbiased std + 1e-6) + bias."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(WIDTH))
        self.bias = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        mean, std = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
        return self.alpha * (x - mean) / (std + 1e-6) + self.bias


class LiteralBlock(nn.Module):
    """The published v1.0 block."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, HEADS * DEPTH) for _ in range(3))
        self.out = nn.Linear(HEADS * DEPTH, WIDTH)
        self.fc1, self.fc2 = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
        self.norm = LiteralNorm()
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        heads = (
            layer(x).view(batch, tokens, HEADS, DEPTH).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        query, key, value = heads
        weights = torch.softmax(torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(DEPTH), dim=-1)
        mixed = torch.matmul(weights, value).transpose(1, 2).contiguous().view(batch, tokens, HEADS * DEPTH)
        a = self.norm(x + self.dropout(self.out(mixed)))
        return a + self.dropout(self.fc2(self.dropout(F.relu(self.fc1(a)))))


class LiteralLWM(nn.Module):
    """The published v1.0 network: tokens with CLS and masked positions in, reconstructions and hidden vectors out."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(ELEMENT, WIDTH)
        self.position = nn.Embedding(TOKENS, WIDTH)
        self.norm, self.head_norm = LiteralNorm(), LiteralNorm()
        self.blocks = nn.ModuleList(LiteralBlock() for _ in range(LAYERS))
        self.dense, self.decoder = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, ELEMENT)

    def forward(self, tokens: Tensor, masked: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(self.proj(tokens) + self.position(torch.arange(tokens.shape[1])))
        for block in self.blocks:
            x = block(x)
        hidden = torch.gather(x, 1, masked[:, :, None].expand(-1, -1, WIDTH))
        return self.decoder(self.head_norm(F.relu(self.dense(hidden)))), x

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Take the official tensors as they are, denormals included."""
        names = {"proj": "embedding.proj", "position": "embedding.pos_embed", "norm": "embedding.norm"}
        names |= {"dense": "linear", "head_norm": "norm"}
        for i in range(LAYERS):
            attention, fed = f"layers.{i}.enc_self_attn", f"layers.{i}.pos_ffn"
            parts = {"query": f"{attention}.W_Q", "key": f"{attention}.W_K", "value": f"{attention}.W_V"}
            parts |= {"out": f"{attention}.linear", "fc1": f"{fed}.fc1", "fc2": f"{fed}.fc2"}
            names |= {f"blocks.{i}.{ours}": theirs for ours, theirs in parts.items()}
            names[f"blocks.{i}.norm"] = f"layers.{i}.norm"
        own = {"decoder.weight": state["decoder.weight"], "decoder.bias": state["decoder_bias"]}
        for name in self.state_dict():
            module, _, kind = name.rpartition(".")
            if module in names:
                own[name] = state[f"{names[module]}.{kind}"]
        self.load_state_dict(own)


def main() -> list[Row]:
    """All rows."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    kernel = "compiled attention" if native.available() else "torch's SDPA (no compiler)"
    return [*_tokens(), *_forward(), *_step(kernel)]


def _channels(batch: int) -> Tensor:
    return torch.randn(batch, 32, 32, 2) * 10


def _encoder() -> LWMEncoder:
    encoder = build_encoder(LWMModel(), (32, 32, 2))
    if not isinstance(encoder, LWMEncoder):
        raise TypeError("not an LWM")
    return encoder


def _tokens() -> list[Row]:
    """Channels to corrupted tokens and mask positions."""
    encoder = _encoder()
    sampler, key = MaskSampler(MaskBlock(), encoder), StepKey(0, 0, 0)
    batch, ids = _channels(256), torch.arange(256)

    def ours() -> None:
        grid = encoder.tokenize(batch)
        masks = sampler(grid, ids, key)
        corrupt(grid.values, masks.index, (0.8, 0.1, 0.1), 0.1, seed=0, step=0, ids=ids)

    seconds = compare({"ours": lambda: [ours() for _ in range(20)]}, repeats=7)["ours"] / 20
    return [
        Row("LWM v1.0 tokenise + mask, samples per second and core", 256 / seconds, "/s", 60_000, note="batches of 256")
    ]


def _forward() -> list[Row]:
    """Inference with the official weights."""
    name = "LWM v1.0 forward with official weights over the literal block"
    folder = Path(os.environ.get("WFM_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    path = folder / CHECKPOINT
    if not path.is_file():
        print(f"  {name}: skipped, {path} does not exist (set WFM_TEST_DATA)", flush=True)
        return []
    block, weights, _ = load_official(path)
    encoder = build_encoder(block, (32, 32, 2)).eval()
    encoder.load_state_dict(weights)
    literal = LiteralLWM().eval()
    literal.load_published(torch.load(path, map_location="cpu", weights_only=True))
    batch = _channels(BATCH)
    grid = encoder.tokenize(batch)
    tokens = torch.cat([torch.full((BATCH, 1, ELEMENT), 0.2), grid.values], 1)
    masked = torch.ones(BATCH, 1, dtype=torch.int64)
    with torch.inference_mode():
        difference = float((literal(tokens, masked)[1] - encoder.encode(grid)).abs().max())
        seconds = compare({"literal": lambda: literal(tokens, masked), "ours": lambda: encoder.encode(grid)})
    ratio = seconds["literal"] / seconds["ours"]
    note = f"{1e3 * seconds['ours']:.0f} ms for {BATCH} samples; largest difference {difference:.1e}"
    return [Row(name, ratio, "x", 10, note=note)]


def _literal_step() -> Callable[[], None]:
    literal = LiteralLWM().train()
    optimiser = torch.optim.Adam(literal.parameters(), 1e-4)
    tokens, masked = torch.randn(BATCH, TOKENS, ELEMENT), torch.randint(1, TOKENS, (BATCH, HIDDEN))
    target = torch.randn(BATCH, HIDDEN, ELEMENT)

    def step() -> None:
        optimiser.zero_grad()
        decoded, _ = literal(tokens, masked)
        loss = F.mse_loss(decoded, target) / target.var()
        loss.backward()
        optimiser.step()

    return step


def _our_step(attention: str, bf16: bool) -> Callable[[], None]:
    """A step of the recipe, tokenising and masking included."""
    model = LWMModel.model_validate({"attention": attention})
    recipe = PretrainRecipe(data=DataBlock(store="none"), model=model, train=TrainBlock(steps=1))
    objective = build_objective(recipe, build_encoder(model, (32, 32, 2))).train()
    optimiser = torch.optim.AdamW(objective.parameters(), 1e-4, fused=True)
    batch, ids, key = _channels(BATCH), torch.arange(BATCH), StepKey(0, 0, 0)

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            parts = objective(batch, ids, key)
        (parts.total / parts.count).backward()
        optimiser.step()

    return step


def _product(dtype: torch.dtype, size: int = 1024) -> Callable[[], object]:
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    return lambda: torch.mm(a, b)


def _step(kernel: str) -> list[Row]:
    """One training step, and the rates behind it."""
    fast = {"fp32": _our_step("auto", False), "bf16": _our_step("auto", True)}
    plain = {"fp32, torch's SDPA": _our_step("sdpa", False), "bf16, torch's SDPA": _our_step("sdpa", True)}
    products = {"product fp32": _product(torch.float32), "product bf16": _product(torch.bfloat16)}
    seconds = compare({"literal": _literal_step(), **fast, **plain, **products})
    peak = {name: 2 * 1024**3 / seconds[f"product {name}"] / 1e9 for name in ("fp32", "bf16")}
    goals = {"fp32": 2.5, "bf16": 4.0}
    rows = [
        Row(
            f"LWM v1.0 training step over the literal block, {name}",
            seconds["literal"] / seconds[name],
            "x",
            goals.get(name),
            note=f"{1e3 * seconds[name]:.0f} ms, {kernel if name in goals else 'no compiled kernel'}",
        )
        for name in (*fast, *plain)
    ]
    for name in ("literal", *fast):
        rate = 3 * FLOP / seconds[name] / 1e9
        kind = "bf16" if name == "bf16" else "fp32"
        note = f"{100 * rate / peak[kind]:.0f} % of this machine's {kind} matrix product, {peak[kind]:.0f} GFLOP/s"
        rows.append(Row(f"LWM v1.0 training step, {name}, arithmetic rate", rate, "GF/s", note=note))
    return rows


if __name__ == "__main__":
    for row in main():
        print(f"{row.name:<72} {row.value:>10.4g} {row.unit:<5} {row.note}")
