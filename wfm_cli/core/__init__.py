"""The shared core: recipes, stores, signal maths, masks, models, objectives, training and evaluation."""
