"""The naive predictor: the most frequent class, or the mean position, of the labels that were drawn."""

from __future__ import annotations

from torch import Tensor

from wfm_cli.core.evaluation.probes.base import Linear, Shown


def fit_majority(shown: Shown) -> Linear:
    """Scores that do not look at the features: class frequencies (the first of equals wins) or the mean value."""
    frequency: Tensor = shown.targets.mean(1)
    draws, width = frequency.shape[0], shown.x.shape[2]
    return Linear(
        frequency.new_zeros(draws, width, frequency.shape[1]).to(shown.x.dtype), frequency.to(shown.x.dtype), []
    )
