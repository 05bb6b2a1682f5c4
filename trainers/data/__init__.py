"""Data sets: read, checked, split, augmented."""
