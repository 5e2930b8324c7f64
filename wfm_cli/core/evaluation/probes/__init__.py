"""Strict probes: the encoder is frozen, training labels fit the head, validation chooses, test is scored once."""
