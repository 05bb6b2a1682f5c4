"""The Ray that a launch starts for itself, on this machine."""
