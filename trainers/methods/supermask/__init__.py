"""Supermasks: fixed random weights, each kept with a probability that is learned."""
