"""Error messages for people: the field, the rule, the value and the nearest valid choice."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line says what is wrong without it, and sooner
    from pydantic import ValidationError


# What people write for a field of another name, which is the nearest one although its letters are not.
MEANT = {"epochs": "budget_epochs", "k": "options", "lr": "slot_learning_rate", "model": "network", "data": "dataset"}


class InvalidInput(ValueError):
    """Input that a person can mend; its text says what is wrong, a line per fault."""


def nearest(word: object, choices: Iterable[str]) -> str:
    """' (did you mean X?)' for the choice most like `word`, or an empty string where none is."""
    known = list(choices)
    meant = MEANT.get(str(word).lower())
    close = [meant] if meant in known else difflib.get_close_matches(str(word), known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def one_of(field: str, value: object, choices: Iterable[str]) -> str:
    """The sentence for a value that is not among the names a field knows."""
    known = list(choices)
    return f"{field}: {value!r} is not one of {', '.join(known)}{nearest(value, known)}"


def name_rule(name: object) -> str:
    """The sentence for what cannot name a sweep, nor the folder that it gets, with the nearest name that can."""
    example = re.sub(r"[^A-Za-z0-9_.-]+", "-", str(name)).strip("-._")[:100] or "my-sweep"
    return (
        "letters, digits, '_', '-', '.', at most 100 of them, beginning with a letter or digit, "
        f"such as {example}, not {name!r}"
    )


def explain(
    error: ValidationError, fields: Iterable[str], where: str = "", misplaced: Mapping[str, str] | None = None
) -> str:
    """Pydantic's faults as `field: rule, value` lines. `where` goes before each field's name.

    misplaced: fields that do not belong at the top, and what to say of them where they stand there.
    """
    known = list(fields)
    return "\n".join(_line(fault, known, where, misplaced or {}) for fault in error.errors(include_url=False))


def _line(fault: Any, known: list[str], where: str, misplaced: Mapping[str, str]) -> str:
    path = [str(part) for part in fault["loc"]]
    field = where + ".".join(path)
    value = fault.get("input")
    kind: str = fault["type"]
    if kind == "extra_forbidden" and path[0] in misplaced:
        return f"{field}: {misplaced[path[0]]}"
    if kind == "extra_forbidden":
        others = [name for name in known if name != path[-1]]  # itself it may be elsewhere, and not here
        return f"{field}: unknown field{nearest(path[-1], others)}"
    if kind == "missing":
        return f"{field}: missing, and it has no default"
    if kind == "literal_error":
        choices = [part.strip().strip("'") for part in fault["ctx"]["expected"].replace(" or ", ", ").split(",")]
        return one_of(field, value, choices)
    if kind == "value_error":
        # Raised by our own validators: most texts name the field already.
        text = str(fault["ctx"]["error"])
        own = where if not path or text.startswith(path[0]) else f"{field}: "
        return "\n".join(own + line for line in text.split("\n"))
    if kind == "string_pattern_mismatch":  # which only names have
        return f"{field}: {name_rule(value)}"
    rule = fault["msg"].removeprefix("Input ")
    return f"{field}: {rule}, not {value!r}{_remedy(fault, value)}"


def _remedy(fault: Any, value: Any) -> str:
    """What was meant, perhaps, by a value of the wrong kind or size."""
    if fault["type"] == "list_type" and isinstance(value, int | float | str):
        return f" (a list is written [{value}]; one of two values [2, 4])"
    highest = fault.get("ctx", {}).get("le", fault.get("ctx", {}).get("lt"))
    if highest == 1 and isinstance(value, int | float) and 2 <= value <= 100:
        return f" (did you mean {value / 100:g}, for {value:g} %?)"
    return ""
