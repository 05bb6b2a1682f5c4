"""Learned weights: the baseline."""
