"""Random features: fixed random layers, and a readout that is solved for."""
