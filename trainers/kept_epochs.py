"""Of which epochs what gets selected is kept: all of them would be large."""


def is_kept(epoch: int) -> bool:
    """Whether this epoch is kept wherever it stands in a stage: 1, 2 and 5 times powers of ten."""
    return str(epoch).rstrip("0") in ("1", "2", "5")
