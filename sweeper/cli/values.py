"""What the text of an option means. Raises click.BadParameter with the rule that it breaks."""

from __future__ import annotations

import math
import re

import click

from trainers.errors import InvalidInput

UNITS = {"s": 1, "m": 60, "h": 3600}
WEEK_SECONDS = 7 * 86_400


def share(text: str) -> float:
    """A share of a device above 0: a fraction of one, or a whole number of them."""
    value = share_or_none(text)
    if value == 0:
        raise click.BadParameter(f"must be above 0, not {text}")
    return value


def share_or_none(text: str) -> float:
    """The same, or 0."""
    try:
        value = float(text)
    except ValueError:
        raise click.BadParameter(f"must be a number or auto, not {text!r}") from None
    if not 0 <= value < 10_000:
        raise click.BadParameter(f"must be a number from 0, not {text}")
    if value > 1 and value != int(value):
        raise click.BadParameter(f"above 1 it must be a whole number, not {text}")
    return value


def share_or_auto(text: str) -> float | str:
    """A share above 0, or the word auto."""
    return text if text == "auto" else share(text)


def share_none_or_auto(text: str) -> float | str:
    """A share, 0 or the word auto."""
    return text if text == "auto" else share_or_none(text)


def hours(text: str) -> float:
    """A number of hours from 0."""
    return _number(text, "hours")


def days(text: str) -> float:
    """A number of days from 0."""
    return _number(text, "days", 100_000)


def seconds(text: str) -> float:
    """A number of seconds, a day's at most."""
    try:
        value = float(text)
    except ValueError:
        raise click.BadParameter(f"must be a number of seconds, not {text!r}") from None
    if not 0 <= value <= 86_400:
        raise click.BadParameter(f"must be from 0 to 86400 seconds, not {text}")
    return value


def duration(text: str) -> float:
    """Seconds, of a number of them or one with a unit: 90, 90s, 15m, 2h; a week's at most."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
    try:
        value = float(number) * UNITS[unit]
    except ValueError:
        raise click.BadParameter(f"must be a time such as 90s, 15m or 2h, not {text!r}") from None
    if not 0 <= value <= WEEK_SECONDS:
        raise click.BadParameter(f"must be from 0 to a week (168h), not {text}")
    return value


def count(text: str) -> int:
    """A whole number from 1."""
    if not text.isdigit() or int(text) < 1:
        raise click.BadParameter(f"must be a whole number from 1, not {text!r}")
    return int(text)


def count_from_zero(text: str) -> int:
    """A whole number from 0."""
    if not text.isdigit():
        raise click.BadParameter(f"must be a whole number from 0, not {text!r}")
    return int(text)


def port(text: str) -> int:
    """A port of this machine."""
    if not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise click.BadParameter(f"must be a port from 1 to 65535, not {text!r}")
    return int(text)


def ray_address(text: str) -> str | None:
    """A Ray cluster to join: HOST:PORT of its head, or auto for the one of this machine; local means none."""
    if text == "local":
        return None
    if text.startswith(("http://", "https://")):
        raise click.BadParameter(f"{text} is a dashboard's address, which --cluster takes; this one is HOST:PORT")
    found = re.fullmatch(r"([^\s:/@]+|\[[0-9a-fA-F:]+\]):(\d{1,5})", text)
    if text != "auto" and not (found and 1 <= int(found[2]) <= 65_535):
        raise click.BadParameter(f"must be HOST:PORT of a Ray cluster's head, auto or local, not {text!r}")
    return text


def tracking(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """An address for MLflow; where a variable holds one that nothing can be tracked to, the error names it."""
    from sweeper.storage.tracking_address import understood

    source = context.get_parameter_source(parameter.name or "")
    if text and source is click.core.ParameterSource.ENVIRONMENT and not context.resilient_parsing:
        try:
            understood(text)
        except InvalidInput as error:
            raise click.BadParameter(str(error).removeprefix("tracking: ")) from None
    return text


def _number(text: str, unit: str, most: float = math.inf) -> float:
    try:
        value = float(text)
    except ValueError:
        raise click.BadParameter(f"must be a number of {unit}, not {text!r}") from None
    if not 0 <= value <= most:
        raise click.BadParameter(f"must be a number of {unit} from 0, not {text}")
    return value
