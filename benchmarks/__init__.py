"""How fast, against what. Each module runs by `python -m benchmarks.NAME` and prints JSON or a table."""
