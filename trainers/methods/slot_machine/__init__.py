"""Slot machines: K fixed random values a connection, and learning which one to use."""
