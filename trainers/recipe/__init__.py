"""Recipes: everything that can change the result of one training run."""
