"""What matplotlib writes, made fit for a page: light and dark, described in words, with ids of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from trainers.conversions.registry import families

# Name: (on light, on dark). Drawn in the light colour, shown as a CSS variable of that name. The families have theirs
# from the cards of their methods: told apart by any eye (after Okabe and Ito) and, being used for words too, at least
# 4.5:1 against the page.
COLOURS = {
    "ink": ("#1b2127", "#e6eaee"),
    "faint": ("#5b6670", "#a3adb7"),
    "rule": ("#d9dee3", "#39424b"),
    **{family.name: (family.light, family.dark) for family in families()},
}


DARKEST, LIGHTEST = ("#1b2127", "#e6eaee"), ("#ffffff", "#13171b")  # what shades are mixed with: (on light, on dark)


def _mixed(colour: str, other: str, share: float) -> str:
    """Of two colours one between them; `share` is the other's."""
    pairs = [(int(colour[place : place + 2], 16), int(other[place : place + 2], 16)) for place in (1, 3, 5)]
    return "#" + "".join(f"{round(own + share * (towards - own)):02x}" for own, towards in pairs)


# Of each family a darker and a paler shade, for lines of one family in one picture; words do not have them.
SHADES = {
    f"{family.name}-{name}": (_mixed(family.light, ends[0], share), _mixed(family.dark, ends[1], share))
    for family in families()
    for name, ends, share in (("dark", DARKEST, 0.55), ("pale", LIGHTEST, 0.4))
}
THEME = {**COLOURS, **SHADES}


def shade(family: str, style: int) -> str:
    """The colour of the family's line number `style` (0-3) in a picture."""
    return THEME[family if style == 0 else f"{family}-{('dark', 'pale', 'dark')[style - 1]}"][0]


@dataclass(frozen=True)
class Mark:
    """What one mark of a picture shows: the arm by its name, its family, and the sentence to read of it."""

    arm: str
    family: str
    says: str


def themed(svg: str, name: str, title: str, description: str, marks: Mapping[str, Mark] | None = None) -> str:
    """An <svg> element to stand in a page. `marks` can be reached, and are read, in the groups of those ids.

    Groups called `part-…-of-FAMILY` say whose they are, so that they can be hidden by that family's key in the legend.
    """
    body = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", svg[svg.index("<svg") :])  # no XML may hold them
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"font-family: [^;\"]+;? ?", "", body)
    for variable, (light, _) in THEME.items():
        body = body.replace(light, f"var(--{variable}, {light})")
    for group, mark in (marks or {}).items():
        body = body.replace(f'<g id="{group}">', f'<g id="{group}"{_told(mark)}><title>{escape(mark.says)}</title>')
    body = re.sub(r'<g id="(part-[\w-]+-of-(\w+))">', r'<g id="\1" data-family="\2">', body)
    body = re.sub(r'<g id="key-of-(\w+)">', r'<g id="key-of-\1" data-key="\1">', body)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    box = re.search(r'viewBox="[^"]+"', body)
    assert box, "matplotlib always writes a view box"
    role = "group" if marks else "img"  # what can be reached by key stands in no image
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {box.group()}'
        f' role="{role}"'
        f" aria-labelledby={quoteattr(f'{name}-title {name}-desc')}>\n"
        f' <title id="{name}-title">{escape(title)}</title>\n <desc id="{name}-desc">{escape(description)}</desc>'
    )
    return re.sub(r"<svg[^>]*>", lambda _: head, body, count=1)


def _told(mark: Mark) -> str:
    """The attributes by which the page's script and those who read it to people find a mark."""
    return f' class="mark" role="img" tabindex="-1" data-arm={quoteattr(mark.arm)} data-family="{mark.family}"'


def standalone(element: str) -> str:
    """The element as a file: with its colours, for light and for dark, and its font."""
    style = (
        "\n <style>svg { font-family: system-ui, 'Segoe UI', Helvetica, Arial, sans-serif }"
        f" :root {{ {variables(0)} }} @media (prefers-color-scheme: dark) {{ :root {{ {variables(1)} }} }}</style>"
    )
    return '<?xml version="1.0" encoding="utf-8"?>\n' + re.sub(
        r"(<svg[^>]*>)", lambda opening: opening.group() + style, element, count=1
    )


def variables(theme: int) -> str:
    """The colours as CSS declarations; theme 0 is light, 1 is dark."""
    return " ".join(f"--{name}: {colours[theme]};" for name, colours in THEME.items())
