"""Edge-popup: fixed random weights, and learning which share of them to keep."""
