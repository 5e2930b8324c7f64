"""Trackers are optional, checked first, and never end a training."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from wfm_cli.core.training import tracking
from wfm_cli.core.training.tracking import Trackers
from wfm_cli.errors import MissingExtraError


class Calls(list[tuple[str, Any]]):
    """A stand-in for any object of a tracker: notes every call, with the attribute it came by."""

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Calls:
            self.append((name, (*args, *kwargs.items())))
            return self

        return call


def fake(monkeypatch: pytest.MonkeyPatch, *names: str, calls: Any) -> None:
    for name in names:
        module = ModuleType(name)
        module.__getattr__ = lambda attribute: getattr(calls, attribute)  # type: ignore[method-assign]
        monkeypatch.setitem(sys.modules, name, module)


def run(kind: str, warnings: list[str], path: Path = Path("runs/a.zarr")) -> None:
    tracking.check([kind])
    trackers = Trackers([kind], warnings.append)
    trackers.start("lwm", path, {"train": {"lr": 0.1}, "seed": 3})
    for step in (1, 2, 3, 4):
        trackers.log(step, {"loss": 0.5, "val_loss": float("nan")})
    trackers.finish("complete")


@pytest.mark.parametrize("kind", ["tensorboard", "wandb", "mlflow"])
def test_missing_package_is_said_with_its_extra(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.raises(MissingExtraError, match=f"train.tracking: {kind}") as missing:
        tracking.check([kind])
    assert missing.value.hint == f"pip install 'wfm-toolkit[{kind}]'"
    assert missing.value.exit_code == 2


def test_wandb_gets_recipe_rows_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, warnings = Calls(), list[str]()
    fake(monkeypatch, "wandb", calls=calls)
    run("wandb", warnings)
    assert calls[0] == ("init", (("name", "lwm"), ("config", {"train": {"lr": 0.1}, "seed": 3}), ("dir", "runs")))
    assert calls[1] == ("log", ({"loss": 0.5}, ("step", 1)))
    assert calls[-1] == ("finish", (("exit_code", 0),))
    assert not warnings


def test_mlflow_gets_recipe_rows_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, warnings = Calls(), list[str]()
    fake(monkeypatch, "mlflow", calls=calls)
    run("mlflow", warnings)
    assert calls[:2] == [("start_run", (("run_name", "lwm"),)), ("log_params", ({"train.lr": 0.1, "seed": 3},))]
    assert calls[2] == ("log_metrics", ({"loss": 0.5}, ("step", 1)))
    assert calls[-1] == ("end_run", ("FINISHED",))
    assert not warnings


def test_tensorboard_writes_beside_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, warnings = Calls(), list[str]()
    fake(monkeypatch, "tensorboard", "torch.utils.tensorboard", calls=calls)
    run("tensorboard", warnings)
    assert calls[0] == ("SummaryWriter", ("runs/a.zarr.tensorboard",))
    assert ("add_scalar", ("loss", 0.5, 4)) in calls
    assert calls[-1][0] == "close"
    assert not warnings


def test_failing_tracker_is_reported_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Calls):
        def log(self, *_: Any, **__: Any) -> None:
            self.append(("log", ()))
            raise ConnectionError("no route")

    calls, warnings = Broken(), list[str]()
    fake(monkeypatch, "wandb", calls=calls)
    run("wandb", warnings)
    assert [name for name, _ in calls].count("log") == 3
    assert len(warnings) == 3
    assert "no route" in warnings[0]
    assert "left alone" in warnings[2]


def test_tracker_that_cannot_start_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Calls):
        def init(self, **_: Any) -> None:
            raise RuntimeError("not logged in")

    calls, warnings = Broken(), list[str]()
    fake(monkeypatch, "wandb", calls=calls)
    run("wandb", warnings)
    assert not calls
    assert len(warnings) == 1
