"""Where marks and names go so that none hides another: plain geometry, in points on the page."""

from __future__ import annotations

from collections.abc import Sequence

Spot = tuple[float, float]
Box = tuple[float, float, float, float]  # left, bottom, right, top


def clusters(places: Sequence[float], apart: float, spans: Sequence[Spot]) -> list[list[int]]:
    """Marks that hide one another, by index: nearer than `apart` to the first of them, and over the same heights.

    spans: from where to where each mark reaches, (low, high).
    """
    found: list[list[int]] = []
    for index, place in enumerate(places):
        for members in found:
            near = abs(places[members[0]] - place) < apart
            if near and any(_overlap(spans[index], spans[member]) for member in members):
                members.append(index)
                break
        else:
            found.append([index])
    return found


def _overlap(one: Spot, other: Spot) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def side_by_side(places: Sequence[float], apart: float, spans: Sequence[Spot]) -> list[float]:
    """How far to move each place so that those of a cluster stand `apart`; its first one stays, the rest alternate."""
    shifts = [0.0] * len(places)
    for members in clusters(places, apart, spans):
        for rank, member in enumerate(members[1:], start=1):
            steps = (rank + 1) // 2 * (1 if rank % 2 else -1)
            shifts[member] = places[members[0]] - places[member] + apart * steps
    return shifts


def pushed_apart(wanted: Sequence[float], apart: float, highest: float) -> list[float]:
    """Heights as near to the wanted ones as being `apart` allows, none above `highest`; same order as given."""
    heights = [0.0] * len(wanted)
    last = float("-inf")
    for index in sorted(range(len(wanted)), key=lambda index: wanted[index]):
        last = heights[index] = max(wanted[index], last + apart)
    over = max(0.0, last - highest)
    return [height - over for height in heights]


def is_free(box: Box, spots: Sequence[Spot], boxes: Sequence[Box], margin: float = 3.0) -> bool:
    """Does the box stay clear of all spots, by a margin, and of all boxes?"""
    left, bottom, right, top = box
    hidden = any(left - margin <= x <= right + margin and bottom - margin <= y <= top + margin for x, y in spots)
    touched = any(left < other[2] and other[0] < right and bottom < other[3] and other[1] < top for other in boxes)
    return not hidden and not touched


def is_inside(box: Box, frame: Box) -> bool:
    """Does the box lie within the frame?"""
    return frame[0] <= box[0] and frame[1] <= box[1] and box[2] <= frame[2] and box[3] <= frame[3]


def along(start: Spot, end: Spot, count: int = 8) -> list[Spot]:
    """Spots on the line from start to end, both included."""
    return [
        (start[0] + (end[0] - start[0]) * step / (count - 1), start[1] + (end[1] - start[1]) * step / (count - 1))
        for step in range(count)
    ]
