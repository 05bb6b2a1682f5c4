"""The version of everything that changes numbers: part of every stored result's key."""

# Raise it whenever the same recipe on the same data gives other numbers than before.
NUMERICS_VERSION = 1
