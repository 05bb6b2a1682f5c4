"""Sweeps from Python: what the command line does, with objects for files and exceptions for exit codes."""
