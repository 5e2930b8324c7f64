"""Tracing of scenes with Sionna RT into DeepMIMO v4 folders. Needs the extra `scenes`; reading the result does not."""
