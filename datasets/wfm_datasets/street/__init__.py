"""A simulated street with one base station: vehicles pass, and every sensor sees the same scene."""
