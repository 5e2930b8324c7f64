"""The commands: one thin module per verb that parses, calls the core and prints."""
