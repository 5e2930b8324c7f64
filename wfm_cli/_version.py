"""Version of the distribution, read by the build and by `wfm --version`."""

__version__ = "0.1.0"
