"""What to try: named sweeps written as YAML, and the numbers that were published."""
