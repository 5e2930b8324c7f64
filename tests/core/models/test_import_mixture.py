"""The official mixture checkpoint in its published form, made small."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.fakes.lwm import literal_forward, official_state
from wfm_cli.core.evaluation.encoders import load_encoder
from wfm_cli.core.exchange import export_run, import_lwm
from wfm_cli.core.models.lwm_spectro_moe import LWMSpectroMoE
from wfm_cli.core.store.run import Run
from wfm_cli.errors import InputError

STANDARDS = ("LTE", "WiFi", "5G")
SIZES = {"layers": 1, "width": 128, "heads": 8, "ffn": 16, "rows": 65}


def expert(seed: int) -> dict[str, Tensor]:
    return official_state("spectro", seed=seed, **SIZES)  # type: ignore[arg-type]


def router_state(experts: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(9)
    state: dict[str, Tensor] = {}
    before = 1
    for place, width in zip((0, 3, 6, 9), (32, 64, 96, 128), strict=True):
        size = 3 if place else 5
        state[f"features.{place}.weight"] = torch.randn(width, before, size, size, generator=generator) * 0.2
        state[f"features.{place}.bias"] = torch.randn(width, generator=generator) * 0.2
        norm = f"features.{place + 1}"
        for name in ("weight", "bias", "running_mean"):
            state[f"{norm}.{name}"] = torch.randn(width, generator=generator)
        state[f"{norm}.running_var"] = torch.rand(width, generator=generator) + 0.5
        state[f"{norm}.num_batches_tracked"] = torch.tensor(70)
        before = width
    state["classifier.2.weight"] = torch.randn(experts, 128, generator=generator)
    state["classifier.2.bias"] = torch.randn(experts, generator=generator)
    return state


def checkpoint(tuned: bool = True, **changes: Any) -> dict[str, Any]:
    """As the publishers' code saves it."""
    names = [f"{standard}_expert" for standard in STANDARDS]
    made: dict[str, Any] = {
        "model_type": "embedding_router_moe",
        "task": "snr_mobility",
        "num_classes": 14,
        "topk": 2,
        "dropout": 0.1,
        "comm_to_idx": {standard: i for i, standard in enumerate(STANDARDS)},
        "experts": [
            {"name": name, "comm": standard, "checkpoint": f"/data/x/experts/{name}.pth", "stats_path": None}
            for name, standard in zip(names, STANDARDS, strict=True)
        ],
        "classifier_state_dict": {"head.0.weight": torch.ones(128), "head.1.fc.weight": torch.zeros(14, 128)},
        "mapping": {0: ("-5", "pedestrian")},
        "expert_trainable": tuned,
        "router_state_dict": router_state(),
    }
    if tuned:
        made["expert_state_dicts"] = [
            {
                "name": name,
                "state_dict": {
                    **{f"model.backbone.{key}": value for key, value in expert(seed).items()},
                    "model.classifier.0.weight": torch.ones(2, 128),
                },
            }
            for seed, name in enumerate(names)
        ]
    return {**made, **changes}


def save(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def published_router(state: dict[str, Tensor], images: Tensor) -> Tensor:
    """The published forward pass, layer by layer."""
    x = images.double()
    for place in (0, 3, 6, 9):
        size = state[f"features.{place}.weight"].shape[-1]
        x = torch.nn.functional.conv2d(
            x, state[f"features.{place}.weight"].double(), state[f"features.{place}.bias"].double(), 2, size // 2
        )
        norm = {k.rpartition(".")[2]: v.double() for k, v in state.items() if k.startswith(f"features.{place + 1}.")}
        x = (x - norm["running_mean"].view(1, -1, 1, 1)) / (norm["running_var"].view(1, -1, 1, 1) + 1e-5).sqrt()
        x = x * norm["weight"].view(1, -1, 1, 1) + norm["bias"].view(1, -1, 1, 1)
        x = x * torch.sigmoid(x)
    return x.mean((2, 3)) @ state["classifier.2.weight"].double().T + state["classifier.2.bias"].double()


@pytest.mark.parametrize("tuned", [True, False])
def test_router_experts_and_weights_equal_the_published_forward(tmp_path: Path, tuned: bool) -> None:
    file = save(tmp_path / "checkpoints" / "checkpoint.pth", checkpoint(tuned))
    if not tuned:
        for seed, standard in enumerate(STANDARDS):
            state = {f"module.{key}": value for key, value in expert(seed).items()}
            save(tmp_path / "experts" / f"{standard}_expert.pth", state)
    info = import_lwm(file, tmp_path / "moe.zarr")
    assert info["ignored_tensors"] == (3 if tuned else 0)
    run = Run.open(tmp_path / "moe.zarr")
    assert run.load_weights()["classifier.head.1.fc.weight"].shape == (14, 128)
    made = load_encoder(tmp_path / "moe.zarr")
    assert isinstance(made, LWMSpectroMoE)
    assert (made.names, made.top, made.sample_shape) == (("lte", "wifi", "nr"), 2, (1, 32, 32))
    batch = torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(1)) * 6 - 70
    flat = batch.flatten(1)
    scaled = ((flat - flat.mean(1, keepdim=True)) / flat.std(1, correction=0, keepdim=True)).view_as(batch)
    gates = published_router(router_state(), scaled).softmax(1)
    weights, index = gates.topk(2, 1)
    weights = weights / weights.sum(1, keepdim=True)
    tokens = made.tokenize(batch).values
    sequence = torch.cat([torch.full((4, 1, 16), 0.2), tokens], 1)
    pooled = torch.stack(
        [
            literal_forward(expert(e), "spectro", 8, sequence, torch.ones(4, 1).long())[1][:, 1:].mean(1)
            for e in range(3)
        ],
        1,
    )
    want = (pooled.gather(1, index.unsqueeze(-1).expand(-1, -1, 128)) * weights.unsqueeze(-1)).sum(1)
    with torch.no_grad():
        torch.testing.assert_close(made.embed(batch).double(), want, atol=2e-5, rtol=1e-4)
    assert len(export_run(tmp_path / "moe.zarr", tmp_path / "out")) == 3


def test_missing_experts_are_asked_for(tmp_path: Path) -> None:
    file = save(tmp_path / "a" / "moe_checkpoint.pth", checkpoint(False))
    with pytest.raises(InputError, match=r"does not hold the weights of expert 'LTE_expert', nor is LTE_expert\.pth"):
        import_lwm(file, tmp_path / "moe.zarr")
    for seed, standard in enumerate(STANDARDS):
        save(tmp_path / "elsewhere" / f"{standard}_expert.pth", expert(seed))
    assert import_lwm(file, tmp_path / "moe.zarr", experts=tmp_path / "elsewhere")["task"] == "snr_mobility"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"router_state_dict": router_state(2)}, r"'router\.scores\.bias' has shape \(2,\)|scores"),
        (
            {"router_state_dict": {k: v for k, v in router_state().items() if "features.4" not in k}},
            r"features\.4\S+ is missing",
        ),
        ({"router_state_dict": {**router_state(), "extra": torch.zeros(1)}}, r"router\.extra' is not part"),
        ({"router_state_dict": {"features.0.weight": torch.zeros(8, 1, 5, 5)}}, "of the router is missing"),
        ({"experts": [{"name": "one", "comm": "LTE"}]}, "no list of two or more experts"),
        (
            {
                "expert_state_dicts": [
                    {"name": f"{s}_expert", "state_dict": {"model.backbone.prompts": torch.ones(1)}} for s in STANDARDS
                ]
            },
            "prompts",
        ),
    ],
)
def test_broken_mixtures_are_one_clear_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = save(tmp_path / "moe_checkpoint.pth", checkpoint(**changes))
    with pytest.raises(InputError, match=message) as found:
        import_lwm(file, tmp_path / "moe.zarr")
    assert "\n" not in found.value.message
    assert not (tmp_path / "moe.zarr").exists()


def test_code_in_a_mixture_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (print, ("run",))

    file = save(tmp_path / "moe_checkpoint.pth", {**checkpoint(), "stats": Evil()})
    with pytest.raises(InputError, match="something else than tensors"):
        import_lwm(file, tmp_path / "moe.zarr")
    plain = tmp_path / "plain.pth"
    plain.write_bytes(pickle.dumps({"router_state_dict": 1}))
    with pytest.raises(InputError):
        import_lwm(plain, tmp_path / "moe.zarr")
