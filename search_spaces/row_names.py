"""What a row is called in which two arms face each other: by what both share, never by one of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

_HEAD = re.compile(r"(?P<where>.*)K=(?P<options>\d+) (?P<selection>GS|PS)")


def row_names(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """A name for each pair of labels: what they share, then what each side says, unless all pairs differ in that alike.

    'GS' where all are K=2 GS against K=8 GS, 'GS: K=2 against K=4' where others are not.
    """
    split = [_split(first, second) for first, second in pairs]
    shared = [common for common, _, _ in split]
    if len({(ours, theirs) for _, ours, theirs in split}) == 1 and all(shared) and len({*shared}) == len(shared):
        return shared  # in what they differ is said once, above all rows
    return [
        ": ".join(filter(None, [common, f"{ours or '–'} against {theirs or '–'}" if ours != theirs else ""]))
        for common, ours, theirs in split
    ]


def _split(first: str, second: str) -> tuple[str, str, str]:
    """What two labels have in common, and what only the one and only the other says."""
    ours, theirs = _phrases(first), _phrases(second)
    common = [phrase for phrase in ours if phrase in theirs]
    return (
        _joined(common),
        _joined([phrase for phrase in ours if phrase not in common]),
        _joined([phrase for phrase in theirs if phrase not in common]),
    )


def in_common(labels: Sequence[str]) -> str:
    """What all of these labels say: of 'K=2 GS, layer-shared' and 'K=8 GS, layer-shared' 'GS, layer-shared'."""
    first, *others = map(_phrases, labels)
    return _joined([phrase for phrase in first if all(phrase in other for other in others)])


def _phrases(label: str) -> list[str]:
    """The parts that may be shared: of 'K=8 GS, layer-shared' the K, the selection and the sharing."""
    head, *rest = label.split(", ")
    found = _HEAD.fullmatch(head)
    if not found:
        return [head, *rest]
    return [*found["where"].split(), f"K={found['options']}", found["selection"], *rest]


def _joined(phrases: Sequence[str]) -> str:
    """As a label has them: the head without commas."""
    head = [phrase for phrase in phrases if re.fullmatch(r"K=\d+|GS|PS", phrase)]
    text = " ".join(head)
    others = [phrase for phrase in phrases if phrase not in head]
    return ", ".join(filter(None, [text, *others]))
