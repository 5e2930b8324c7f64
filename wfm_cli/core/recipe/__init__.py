"""Recipes: strict models, YAML loading with exact error positions, and the recipes that ship with wfm."""
