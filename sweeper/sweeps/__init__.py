"""Whole sweeps: what refers to which stages; renamed, deleted, put into one file for another storage."""
