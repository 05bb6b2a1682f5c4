"""Stages, their forest, their schedule and their faults. Pure: no input or output."""
