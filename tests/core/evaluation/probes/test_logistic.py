"""Logistic regression against scipy's minimiser on the literal objective, and what a strict probe must not do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp

from wfm_cli.core.evaluation.probes.base import Fitted, Shown, balanced_weights
from wfm_cli.core.evaluation.probes.lbfgs import Settings, minimise
from wfm_cli.core.evaluation.probes.logistic import fit_logistic
from wfm_cli.core.evaluation.probes.principal import Principal

TIGHT = Settings(gap=1e-13, iterations=1000)


def indifferent(fitted: Fitted) -> torch.Tensor:
    """Validation that likes every candidate alike."""
    return torch.zeros(len(fitted.scores(torch.zeros(1, fitted.weight.shape[1], dtype=fitted.weight.dtype))))  # type: ignore[attr-defined]


def blobs(draws: int, n: int, d: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Overlapping classes in features of very different scales and offsets."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, (draws, n))
    x = rng.normal(size=(classes, d))[y] + 1.5 * rng.normal(size=(draws, n, d))
    return torch.from_numpy(x * 10 ** rng.uniform(-2, 2, d) + 3 * rng.normal(size=d)), torch.from_numpy(y)


def objective(
    weights: np.ndarray, x: np.ndarray, y: np.ndarray, l2: float, classes: int, counts: np.ndarray | float = 1.0
) -> tuple[float, np.ndarray]:
    """mean -counts log softmax + l2/2 |W|^2 and its gradient, the bias free; `weights` is (d + 1, C) flat."""
    n, d = x.shape
    w = weights.reshape(d + 1, classes)
    logits = x @ w[:-1] + w[-1]
    log_p = logits - logsumexp(logits, axis=1, keepdims=True)
    p = np.exp(log_p)
    p[np.arange(n), y] -= 1
    p *= np.broadcast_to(counts, n)[:, None]
    gradient = np.vstack([x.T @ p / n + l2 * w[:-1], p.sum(0) / n])
    return -(counts * log_p[np.arange(n), y]).mean() + l2 / 2 * (w[:-1] ** 2).sum(), gradient.ravel()


@pytest.mark.parametrize(
    ("n", "d", "classes", "l2"), [(60, 5, 2, 0.1), (80, 6, 4, 1e-2), (200, 8, 3, 1e-3), (20, 50, 3, 1e-2)]
)
def test_it_is_the_minimum_of_the_stated_objective(n: int, d: int, classes: int, l2: float) -> None:
    x, y = blobs(3, n, d, classes)
    fit = fit_logistic(Shown(x, y, classes, indifferent), [l2], settings=TIGHT)
    for s in range(3):
        raw, labels = x[s].numpy(), y[s].numpy()
        mean, scale = raw.mean(0), raw.std(0)
        standard = (raw - mean) / scale
        known = minimize(
            objective,
            np.zeros((d + 1) * classes),
            (standard, labels, l2, classes),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 20000, "maxfun": 40000, "ftol": 1e-16, "gtol": 1e-9},
        )
        w = known.x.reshape(d + 1, classes)
        expected = standard @ w[:-1] + w[-1]
        got = fit.scores(x[s])[s].numpy()
        # The loss does not change when all classes move together: compare centred scores.
        difference = (got - got.mean(1, keepdims=True)) - (expected - expected.mean(1, keepdims=True))
        assert np.abs(difference).max() < 5e-5
        w = fit.weight[s].numpy()
        own = np.vstack([w * scale[:, None], fit.bias[s].numpy() + mean @ w])
        loss, gradient = objective(own.ravel(), standard, labels, l2, classes)
        assert loss <= known.fun + 1e-10
        assert np.abs(gradient).max() < 1e-6


def test_class_weights_are_those_of_the_stated_objective() -> None:
    x, y = blobs(2, 200, 6, 4)
    y = torch.where(torch.rand(y.shape, generator=torch.Generator().manual_seed(0)) < 0.8, 0, y)  # most are class 0
    weights = balanced_weights(y, 5)  # class 4 never occurs
    fit = fit_logistic(Shown(x, y, 5, indifferent, weights), [1e-2], settings=TIGHT)
    plain = fit_logistic(Shown(x, y, 5, indifferent), [1e-2], settings=TIGHT)
    for s in range(2):
        raw, labels = x[s].numpy(), y[s].numpy()
        standard, sizes = (raw - raw.mean(0)) / raw.std(0), np.bincount(labels, minlength=4)
        counts = 200 / (4 * sizes[labels])
        np.testing.assert_allclose(weights[s].numpy(), counts)
        known = minimize(
            objective,
            np.zeros(7 * 4),
            (standard, labels, 1e-2, 4, counts),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 20000, "maxfun": 40000, "ftol": 1e-16, "gtol": 1e-9},
        ).x.reshape(7, 4)
        expected = standard @ known[:-1] + known[-1]
        got = fit.scores(x[s])[s, :, :4].numpy()
        difference = (got - got.mean(1, keepdims=True)) - (expected - expected.mean(1, keepdims=True))
        assert np.abs(difference).max() < 5e-5
        assert not (fit.scores(x[s])[s].argmax(-1) == 4).any()
        rare = labels > 0
        hits = [(f.scores(x[s])[s].argmax(-1).numpy() == labels)[rare].mean() for f in (fit, plain)]
        assert hits[0] > hits[1] + 0.1


def test_draws_of_equal_classes_do_not_notice_weights() -> None:
    x, y = blobs(2, 60, 4, 3)
    y = torch.arange(60).remainder(3).expand(2, 60)
    weights = balanced_weights(y, 3)
    torch.testing.assert_close(weights, torch.ones(2, 60, dtype=torch.float64))
    both = [fit_logistic(Shown(x, y, 3, indifferent, w), [1e-2], settings=TIGHT) for w in (None, weights)]
    torch.testing.assert_close(both[0].weight, both[1].weight, atol=1e-6, rtol=0)


def test_float32_and_default_settings_come_close_to_the_minimum() -> None:
    x, y = blobs(2, 400, 20, 5)
    exact = fit_logistic(Shown(x, y, 5, indifferent), [1e-2], settings=TIGHT)
    quick = fit_logistic(Shown(x.float(), y, 5, indifferent), [1e-2])
    agree = (exact.scores(x[0]).argmax(-1) == quick.scores(x[0].float()).argmax(-1)).double().mean()
    assert agree > 0.99


def test_draws_do_not_know_of_one_another() -> None:
    x, y = blobs(4, 50, 6, 3)
    together = fit_logistic(Shown(x, y, 3, indifferent), [1e-2], settings=TIGHT)
    for s in range(4):
        alone = fit_logistic(Shown(x[s : s + 1], y[s : s + 1], 3, indifferent), [1e-2], settings=TIGHT)
        torch.testing.assert_close(together.scores(x[0])[s], alone.scores(x[0])[0], atol=1e-5, rtol=0)


def test_a_path_ends_where_a_single_strength_would() -> None:
    x, y = blobs(2, 100, 6, 3)
    path = fit_logistic(Shown(x, y, 3, lambda fit: -_size(fit)), [1e-3, 10.0, 0.1], settings=TIGHT)
    assert path.chosen == [10.0, 10.0]  # small weights are liked: the strongest penalty wins and the path stops
    last = fit_logistic(Shown(x, y, 3, _size), [10.0, 0.1, 1e-3], settings=TIGHT)
    assert last.chosen == [1e-3, 1e-3]
    single = fit_logistic(Shown(x, y, 3, indifferent), [1e-3], settings=TIGHT)
    torch.testing.assert_close(last.scores(x[0]), single.scores(x[0]), atol=1e-4, rtol=0)


def _size(fit: Fitted) -> torch.Tensor:
    return fit.weight.double().square().sum((1, 2))  # type: ignore[attr-defined]


def test_each_draw_keeps_its_own_best_and_stops_on_its_own() -> None:
    x, y = blobs(3, 60, 4, 2)
    liked = torch.tensor([1.0, 0.01, 1e-4], dtype=torch.float64)
    asked: list[int] = []

    def choose(fit: Fitted) -> torch.Tensor:
        strength = strengths[len(asked)]
        draws = len(fit.weight)  # type: ignore[attr-defined]
        asked.append(draws)
        return -(liked.log10() - np.log10(strength)).abs()[-draws:]

    strengths = [10.0, 1.0, 0.1, 0.01, 1e-3, 1e-4]
    fit = fit_logistic(Shown(x, y, 2, choose), strengths)
    assert fit.chosen == liked.tolist()
    assert asked == [3, 3, 3, 3, 2, 2]  # the first draw was worse twice at 0.01 and has left


def test_a_class_that_a_draw_lacks_is_never_guessed() -> None:
    x, y = blobs(2, 30, 4, 3)
    y[0][y[0] == 2] = 1
    fit = fit_logistic(Shown(x, y, 3, indifferent), [1e-2], settings=TIGHT)
    assert set(fit.scores(100 * x[1])[0].argmax(-1).tolist()) <= {0, 1}
    two = fit_logistic(Shown(x[:1], y[:1], 2, indifferent), [1e-2], settings=TIGHT)
    torch.testing.assert_close(
        fit.scores(x[0])[0, :, :2].softmax(-1), two.scores(x[0])[0].softmax(-1), atol=1e-6, rtol=0
    )


def test_a_draw_of_one_class_says_that_class() -> None:
    x = torch.randn(1, 1, 7)
    fit = fit_logistic(Shown(x, torch.tensor([[2]]), 4, indifferent), [1.0, 1e-6])
    assert fit.scores(torch.randn(5, 7)).argmax(-1).unique().tolist() == [2]


def test_constant_features_do_nothing() -> None:
    x, y = blobs(2, 40, 5, 3)
    padded = torch.cat([x, torch.full((2, 40, 1), 1e4), torch.full((2, 40, 1), 0.0)], 2)
    plain = fit_logistic(Shown(x, y, 3, indifferent), [1e-2], settings=TIGHT)
    with_them = fit_logistic(Shown(padded, y, 3, indifferent), [1e-2], settings=TIGHT)
    assert not with_them.weight[:, -2:].any()
    torch.testing.assert_close(with_them.scores(padded[0]), plain.scores(x[0]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("n", "d"), [(12, 40), (40, 12), (7, 7)])
def test_principal_axes_lose_nothing(n: int, d: int) -> None:
    x, _ = blobs(2, n, d, 3)
    axes = Principal.of(x)
    assert axes.rows.shape == (2, n, min(n, d))
    standard = (x - x.mean(1, keepdim=True)) / x.std(1, correction=0, keepdim=True)
    torch.testing.assert_close(axes.rows @ axes.basis.transpose(1, 2), standard, atol=1e-9, rtol=0)
    moment = axes.rows.transpose(1, 2) @ axes.rows / n
    torch.testing.assert_close(moment, torch.diag_embed(axes.power), atol=1e-9, rtol=0)


def test_minimise_solves_quadratics_of_very_different_curvature() -> None:
    curvature = torch.tensor([[1.0, 1e3, 1e-2], [5.0, 5.0, 1e4]], dtype=torch.float64)[..., None]
    target = torch.randn(2, 3, 1, dtype=torch.float64)

    def bowl(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return 0.5 * (curvature * (x - target) ** 2).sum((1, 2)), curvature * (x - target)

    solution = minimise(bowl, torch.zeros_like(target), torch.ones_like(target), Settings(gap=1e-18, iterations=500))
    torch.testing.assert_close(solution.x, target, atol=1e-6, rtol=0)
