"""What is kept of stages, trials and sweeps."""
