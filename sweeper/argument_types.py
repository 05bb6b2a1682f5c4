"""From the text of an argument to its value; what is refused is told with its rule."""

from __future__ import annotations

import argparse

from trainers.validation import nearest

# Those of `sweeper.scheduling.Status`, which takes long to import; a test holds them equal.
STATUSES = ("PENDING", "RUNNING", "COMPLETED", "STOPPED_EARLY", "FAILED")


def share(text: str) -> float:
    value = share_or_none(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return value


def share_or_none(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number or auto, not {text!r}") from None
    if not 0 <= value < 10_000:
        raise argparse.ArgumentTypeError(f"must be a number from 0, not {text}")
    if value > 1 and value != int(value):
        raise argparse.ArgumentTypeError(f"above 1 it must be a whole number, not {text}")
    return value


def share_or_auto(text: str) -> float | str:
    return text if text == "auto" else share(text)


def share_none_or_auto(text: str) -> float | str:
    return text if text == "auto" else share_or_none(text)


def hours(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number of hours, not {text!r}") from None
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"must be a number of hours from 0, not {text}")
    return value


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, not {text!r}") from None
    if not 0 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"must be from 0 to 86400 seconds, not {text}")
    return value


def days(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number of days, not {text!r}") from None
    if not 0 <= value < 100_000:
        raise argparse.ArgumentTypeError(f"must be a number of days from 0, not {text}")
    return value


def status_name(text: str) -> str:
    if text.upper() not in STATUSES:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not one of {', '.join(STATUSES)}{nearest(text.upper(), STATUSES)}"
        )
    return text.upper()


def count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")
    return int(text)


def count_from_zero(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0, not {text!r}")
    return int(text)


def port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"must be a port from 1 to 65535, not {text!r}")
    return int(text)
