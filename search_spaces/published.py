"""Published accuracies, each with its setting and its source; the numbers lie in published.csv, best sources first.

Left out: methods that are not ours (IteRand, TNT), networks that are not ours (VGG-small, LeNet-5), and
the slot machines of a reproduction that updated the chosen score only; its learned weights are there, the only ones of
which it is known that their images were not augmented. ImageNet is our `image_folder`. ReCU is there with weights and
activations of one bit, and stands beside no arm: our binary weights have activations as they are.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

Kind = Literal["table", "text", "figure-read", "secondary"]


@dataclass(frozen=True)
class Published:
    """One published number. What does not apply or was not stated is None; `setting` says the rest in words."""

    network: str
    dataset: str
    method: str
    options: int | None
    selection: str | None
    sharing: str | None
    setting: str
    accuracy: float  # a fraction
    spread: str  # as published: lowest..highest; empty where none was
    source: str
    kind: Kind  # figure-read: read off a plot; secondary: quoted by somebody else

    @property
    def augmented(self) -> bool | None:
        """Whether the training images were augmented; None where nobody says."""
        return {"augmented": True, "not augmented": False}.get(self.setting.split("; ")[0])

    @property
    def of_binary_activations(self) -> bool:
        """Whether activations have one bit, too, which none of our methods does."""
        return "activations of one bit" in self.setting

    @property
    def keep_fraction(self) -> float | None:
        """The share of connections kept, where one was stated."""
        found = re.search(r"\bkeep ([\d.]+) %", self.setting)
        return float(found[1]) / 100 if found else None

    @property
    def weight_init(self) -> str | None:
        """The fixed weights, where they were stated."""
        names = {"Kaiming-normal": "kaiming_normal", "signed constant": "signed_constant"}
        return next((name for words, name in names.items() if words in self.setting), None)


@cache
def all_published() -> tuple[Published, ...]:
    """Every row of published.csv, in its order. Raises ValueError for a malformed row."""
    text = files("search_spaces").joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(read_published(text.splitlines()))


def read_published(lines: Iterable[str]) -> list[Published]:
    """The rows of a CSV like published.csv. Raises ValueError, with the line, for one that is malformed."""
    rows = []
    for number, row in enumerate(csv.DictReader(lines, strict=True), start=2):
        if None in row or None in row.values():
            raise ValueError(f"line {number}: {len(Published.__dataclass_fields__)} columns, not more and not fewer")
        try:
            rows.append(_published(row))
        except (ValueError, TypeError) as error:
            raise ValueError(f"line {number}: {error}") from None
    return rows


def published_for(
    network: str,
    dataset: str,
    method: str,
    options: int | None = None,
    selection: str | None = None,
    sharing: str | None = None,
    *,
    augmented: bool | None = None,
    keep_fraction: float | None = None,
    weight_init: str | None = None,
) -> list[Published]:
    """The numbers published for such an arm, not finetuned, the nearest first. options None: the best K.

    Rows that leave the selection open are among them, behind those that state it. Given `augmented`, `keep_fraction` or
    `weight_init`, rows that state another value are left out, and rows that state none come last.
    """
    wanted = {"augmented": augmented, "keep_fraction": keep_fraction, "weight_init": weight_init}
    found = []
    for row in all_published():
        described = (row.network, row.dataset, row.method, row.options)
        if described != (network, dataset, method, options) or row.of_binary_activations:
            continue
        stated = {name: getattr(row, name) for name, value in wanted.items() if value is not None}
        stated |= {"selection": row.selection} if selection is not None else {}
        stated |= {"sharing": row.sharing} if sharing is not None else {}
        asked = {**wanted, "selection": selection, "sharing": sharing}
        if all(value is None or value == asked[name] for name, value in stated.items()):
            found.append((sum(value is None for value in stated.values()), row))
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def _published(row: dict[str, str]) -> Published:
    accuracy, kind = float(row["accuracy"]), row["kind"]
    if not 0 < accuracy <= 1:
        raise ValueError(f"accuracy: a fraction in 0..1, not {accuracy}")
    if kind not in get_args(Kind):
        raise ValueError(f"kind: {kind!r} is not one of {', '.join(get_args(Kind))}")
    if not row["source"]:
        raise ValueError("source: missing")
    return Published(
        network=row["network"],
        dataset=row["dataset"],
        method=row["method"],
        options=int(row["options"]) if row["options"] else None,
        selection=row["selection"] or None,
        sharing=row["sharing"] or None,
        setting=row["setting"],
        accuracy=accuracy,
        spread=row["spread"],
        source=row["source"],
        kind=kind,  # type: ignore[arg-type]
    )
