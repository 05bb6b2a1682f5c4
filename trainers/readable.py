"""Numbers as people read them: accuracy in %, SI prefixes, times, a real minus sign. Missing is an en dash."""

from __future__ import annotations

from math import floor, isnan, log10

MISSING = "–"
MINUS = "−"
PREFIXES = "kMGTPE"  # of the SI: each a thousand times the one before


def percent(fraction: float | None, half_width: float = float("nan"), unit: str = "") -> str:
    """'97.31 ± 0.24' of fractions in 0..1, '−3.20' of one below; without an interval just the mean.

    `unit` is added where it does not stand in the head of a column.
    """
    if fraction is None or isnan(fraction):
        return MISSING
    text = f"{100 * fraction:.2f}".replace("-", MINUS)
    return (text if isnan(half_width) else f"{text} ± {100 * half_width:.2f}") + unit


def points(difference: float) -> str:
    """A difference of fractions in percentage points, with its sign: '+0.32', '−1.10', '0.00'."""
    return signed(100 * difference)


def signed(value: float, digits: int = 2) -> str:
    """With its sign: '+0.32', '−1.10', '0.00'."""
    if isnan(value):
        return MISSING
    text = f"{abs(value):.{digits}f}"
    sign = "" if float(text) == 0 else "+" if value > 0 else MINUS
    return sign + text


def interval(low: float, high: float) -> str:
    """'+0.11 to +0.53', already in the unit it is shown in."""
    return MISSING if isnan(low) or isnan(high) else f"{signed(low)} to {signed(high)}"


def p_value(value: float) -> str:
    """'0.031', '< 0.001'."""
    if isnan(value):
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def engineering(value: float, unit: str) -> str:
    """Three digits and an SI prefix: '76.0 GFLOP', '1.20 MB'."""
    if isnan(value):
        return MISSING
    if value == 0:
        return f"0 {unit}"
    step = max(0, min(len(PREFIXES), floor(log10(abs(value)) / 3)))
    scaled = value / 1000**step
    if abs(scaled) >= 999.5 and step < len(PREFIXES):
        step, scaled = step + 1, scaled / 1000
    digits = max(0, 2 - floor(log10(abs(scaled)))) if abs(scaled) >= 1 else 2
    whole = step == 0 and value == int(value)
    return f"{scaled:.{0 if whole else digits}f} {PREFIXES[step - 1] if step else ''}{unit}"


def seconds(value: float) -> str:
    """'0.52 s', '83.2 s', '35.2 min', '26.1 h'."""
    if isnan(value):
        return MISSING
    if value < 120:
        return f"{value:.{2 if value < 10 else 1}f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def number(value: float) -> str:
    """Whole numbers with thousands separated, others with up to two decimals."""
    if isnan(value):
        return MISSING
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def listed(words: list[str], last: str = "and") -> str:
    """'a', 'a and b', 'a, b and c'."""
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), words[-1] if words else ""]))


def lowered(phrase: str) -> str:
    """As it stands within a sentence: 'training time' of 'Training time', but 'CPU time' as it is."""
    return phrase if phrase[1:2].isupper() else phrase[:1].lower() + phrase[1:]


def counted(count: int, noun: str) -> str:
    """'1 trial', '1,200 trials'."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
