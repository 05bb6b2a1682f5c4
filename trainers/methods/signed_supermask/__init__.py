"""Signed supermasks: fixed random weights, each kept, dropped or inverted."""
