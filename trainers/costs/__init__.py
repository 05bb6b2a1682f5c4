"""What training costs: memory, time, energy, FLOPs."""
