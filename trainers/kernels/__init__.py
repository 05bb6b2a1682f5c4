"""Selection and its neighbours in C, torch and Triton, and the random numbers that they draw."""
