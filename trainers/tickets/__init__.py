"""A trained network as one small file."""
