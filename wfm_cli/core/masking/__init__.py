"""Masks: which tokens are hidden, for a whole batch at once and as a pure function of seed, step and sample."""
