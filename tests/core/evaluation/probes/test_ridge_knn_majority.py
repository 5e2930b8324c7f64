"""Ridge against the normal equations, nearest neighbours against a plain search, and the naive predictor."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wfm_cli.core.evaluation.probes.base import Best, Fitted, Shown
from wfm_cli.core.evaluation.probes.knn import fit_knn
from wfm_cli.core.evaluation.probes.majority import fit_majority
from wfm_cli.core.evaluation.probes.ridge import fit_ridge


def zero(fitted: Fitted) -> torch.Tensor:
    return torch.zeros(2, dtype=torch.float64)


def made(n: int, d: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, n, d)) * 10 ** rng.uniform(-1, 1, d) + rng.normal(size=d)
    y = np.tanh(x @ rng.normal(size=(d, 3))) * 50 + 7 + rng.normal(size=(2, n, 3))
    return torch.from_numpy(x), torch.from_numpy(y)


@pytest.mark.parametrize(("n", "d", "l2"), [(50, 6, 0.1), (50, 6, 1e-6), (10, 40, 1e-2)])
def test_ridge_solves_the_normal_equations(n: int, d: int, l2: float) -> None:
    x, y = made(n, d)
    fit = fit_ridge(Shown(x, y, 0, zero), [l2])
    for s in range(2):
        z = (x[s] - x[s].mean(0)) / x[s].std(0, correction=0)
        w = torch.linalg.solve(z.T @ z / n + l2 * torch.eye(d), z.T @ (y[s] - y[s].mean(0)) / n)
        torch.testing.assert_close(fit.scores(x[s])[s], z @ w + y[s].mean(0), atol=1e-5, rtol=1e-5)


def test_ridge_takes_the_strength_that_validation_likes() -> None:
    x, y = made(60, 5)
    errors = []

    def choose(fitted: Fitted) -> torch.Tensor:
        errors.append((fitted.scores(x[0]) - y[0]).square().mean((1, 2)))
        return -errors[-1]

    strengths = [10.0, 0.1, 1e-3]
    fit = fit_ridge(Shown(x[:, :30], y[:, :30], 0, choose), strengths)
    best = torch.stack(errors).argmin(0)
    assert fit.chosen == [strengths[i] for i in best]
    torch.testing.assert_close((fit.scores(x[0]) - y[0]).square().mean((1, 2)), torch.stack(errors).amin(0))


def test_ridge_on_classes_is_least_squares_on_one_hot_targets() -> None:
    x, _ = made(40, 4)
    y = torch.arange(80).reshape(2, 40) % 3
    classes = fit_ridge(Shown(x, y, 3, zero), [0.01])
    values = fit_ridge(Shown(x, torch.nn.functional.one_hot(y, 3).double(), 0, zero), [0.01])
    torch.testing.assert_close(classes.scores(x[0]), values.scores(x[0]))


def nearest(x: np.ndarray, query: np.ndarray, k: int, distance: str) -> list[int]:
    """Plain search after standardisation with the training statistics."""
    mean, scale = x.mean(0), x.std(0)
    x, query = (x - mean) / scale, (query - mean) / scale
    if distance == "cosine":
        far = [-float(row @ query / np.linalg.norm(row) / np.linalg.norm(query)) for row in x]
    else:
        far = [float(np.sum((row - query) ** 2)) for row in x]
    return list(np.argsort(far, kind="stable")[:k])


@pytest.mark.parametrize("distance", ["cosine", "euclid"])
def test_neighbours_are_those_of_a_plain_search(distance: str) -> None:
    x, y = made(40, 5)
    labels = torch.arange(80).reshape(2, 40) * 7 % 4
    query = made(9, 5, seed=3)[0][0]
    votes = fit_knn(Shown(x, labels, 4, zero), [5], distance)  # type: ignore[arg-type]
    values = fit_knn(Shown(x, y, 0, zero), [5], distance)  # type: ignore[arg-type]
    for s in range(2):
        for row in range(9):
            near = nearest(x[s].numpy(), query[row].numpy(), 5, distance)
            expected = y[s][near].mean(0)
            torch.testing.assert_close(values.scores(query)[s, row], expected)
            counts = np.bincount(labels[s][near].numpy(), minlength=4)
            tied = np.flatnonzero(counts == counts.max())
            first = next(int(labels[s][i]) for i in near if int(labels[s][i]) in tied)
            if len(tied) == 1:
                assert int(votes.scores(query)[s, row].argmax()) == first


def test_equal_votes_go_to_the_nearer_neighbours() -> None:
    x = torch.tensor([[[0.0], [1.0], [2.0], [10.0]]])
    fit = fit_knn(Shown(x, torch.tensor([[1, 0, 0, 1]]), 2, lambda _: torch.zeros(1)), [2], "euclid")
    assert int(fit.scores(torch.tensor([[0.4]])).argmax()) == 1  # neighbours 0 (class 1) and 1 (class 0)
    assert int(fit.scores(torch.tensor([[0.6]])).argmax()) == 0


def test_validation_chooses_the_number_of_neighbours_within_the_samples() -> None:
    x, _ = made(10, 3)
    labels = torch.arange(20).reshape(2, 10) % 2
    asked: list[int] = []

    def choose(fitted: Fitted) -> torch.Tensor:
        asked.append(int(fitted.k[0]))  # type: ignore[attr-defined]
        return torch.tensor([asked[-1], -asked[-1]], dtype=torch.float64)

    fit = fit_knn(Shown(x, labels, 2, choose), [1, 5, 50], "cosine")
    assert asked == [1, 5, 10]
    assert fit.chosen == [10.0, 1.0]
    assert fit.k.tolist() == [10, 1]


def test_the_naive_predictor_says_the_most_frequent_class_or_the_mean() -> None:
    x = torch.randn(2, 5, 3)
    fit = fit_majority(Shown(x, torch.tensor([[2, 2, 1, 0, 2], [0, 1, 1, 1, 2]]), 3, zero))
    assert fit.scores(torch.randn(4, 3)).argmax(-1).tolist() == [[2] * 4, [1] * 4]
    values = torch.randn(2, 5, 3, dtype=torch.float64)
    mean = fit_majority(Shown(x, values, 0, zero)).scores(torch.randn(4, 3))
    torch.testing.assert_close(mean, values.mean(1).float()[:, None].expand(2, 4, 3))


def test_the_first_of_equals_is_kept() -> None:
    best = Best()
    for value, scores in ((1.0, [0.5, 0.2]), (0.1, [0.5, 0.3]), (0.01, [0.4, 0.3])):
        best.offer(torch.tensor(scores), value, torch.full((2, 1), value))
    assert best.chosen == pytest.approx([1.0, 0.1])
    assert best.parts[0].flatten().tolist() == pytest.approx([1.0, 0.1])
