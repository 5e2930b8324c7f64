"""Words for what a pretraining is compared with."""

from __future__ import annotations

REFERENCES = {
    "visible": "mean of what is visible",
    "frequency": "mean at each frequency",
    "nearest": "nearest visible frame",
    "latent_context": "mean of the visible tokens",
    "latent_mean": "mean target of the batch",
    "latent_last": "nearest visible frame",
    "mean": "training mean",
}
"""References other than completions, by what follows `nmse_`."""
