"""What is tried next: searches, rungs, limits."""
