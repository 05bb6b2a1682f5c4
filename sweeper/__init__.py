"""Run many trials, on a cluster, under a budget; track them."""
