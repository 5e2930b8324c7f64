"""Dataset builders of wfm."""
