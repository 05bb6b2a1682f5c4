"""How a finished network is stored in fewer bits: conversions, each of no epochs after all training."""
