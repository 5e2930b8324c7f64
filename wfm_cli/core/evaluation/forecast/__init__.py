"""Predictive tasks on multimodal sequences: where a user will be, which beam, which power."""
