"""Read tracked sweeps, say what they show."""
