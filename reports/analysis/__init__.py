"""From tracked trials to numbers: arms, statistics, pairings, the paper's claims. Arrays in, numbers out."""
