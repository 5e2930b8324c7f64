"""Ridge regression, closed form for every strength at once."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from wfm_cli.core.evaluation.probes.base import Best, Linear, Shown
from wfm_cli.core.evaluation.probes.principal import Principal


def fit_ridge(shown: Shown, strengths: Sequence[float], axes: Principal | None = None) -> Linear:
    """Least squares with a penalty: minimise mean |y - Wx - b|^2 / 2 + l2 |W|^2 / 2 on standardised features.

    Args:
        shown: Training samples; classes are regressed one-hot.
        strengths: Values of l2; the first of those that validate best is kept.
        axes: `Principal.of(shown.x)` where it is known already.
    """
    axes = axes or Principal.of(shown.x)
    targets = shown.targets
    centre = targets.mean(1)
    rows = axes.rows.double()
    moment = rows.transpose(1, 2) @ (targets - centre[:, None]) / rows.shape[1]
    best = Best()
    for strength in strengths:
        fit = _at(axes, moment, centre, strength, shown.x)
        best.offer(shown.choose(fit), strength, fit.weight, fit.bias)
    return best.linear


def _at(axes: Principal, moment: Tensor, centre: Tensor, strength: float, like: Tensor) -> Linear:
    # An axis that was left out has no power and no moment: its weight is 0 / l2.
    weight = moment / (axes.power + strength)[..., None]
    return axes.unfold(weight.to(like.dtype), centre.to(like.dtype))
