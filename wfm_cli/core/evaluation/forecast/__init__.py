"""Predictive tasks on multimodal sequences: where a user will be, which beam, which power."""

BESIDE_NAMES = {
    "localisation": (
        "constant_velocity", "constant_velocity_s", "last_position", "ar", "gru", "transformer", "kalman",
    ),
    "beam_prediction": (
        "last_beam", "last_power", "most_frequent", "nearest_position", "ar", "gru", "transformer", "position_head",
    ),
    "rssi_prediction": (
        "last_power", "mean_power", "nearest_position", "path_loss", "ar", "gru", "transformer", "position_head",
        "vision_position",
    ),
}  # fmt: skip
"""Rows that can stand beside encoders, by the task."""
