"""Complex baseband recordings: finding them, reading them, and saying what was found."""
