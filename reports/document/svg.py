"""What matplotlib writes, made fit for a page: light and dark, described in words, with ids of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.sax.saxutils import escape, quoteattr

from trainers.methods.registry import families

# Name: (on light, on dark). Drawn in the light colour, shown as a CSS variable of that name. The families have theirs
# from the cards of their methods: told apart by any eye (after Okabe and Ito) and, being used for words too, at least
# 4.5:1 against the page.
COLOURS = {
    "ink": ("#1b2127", "#e6eaee"),
    "faint": ("#5b6670", "#a3adb7"),
    "rule": ("#d9dee3", "#39424b"),
    **{family.name: (family.light, family.dark) for family in families()},
}


def themed(svg: str, name: str, title: str, description: str, hints: Mapping[str, str] | None = None) -> str:
    """An <svg> element to stand in a page. `hints` are shown on hovering over the group of that id."""
    body = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", svg[svg.index("<svg") :])  # no XML may hold them
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"font-family: [^;\"]+;? ?", "", body)
    for variable, (light, _) in COLOURS.items():
        body = body.replace(light, f"var(--{variable}, {light})")
    for group, hint in (hints or {}).items():
        body = body.replace(f'<g id="{group}">', f'<g id="{group}"><title>{escape(hint)}</title>')
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    box = re.search(r'viewBox="[^"]+"', body)
    assert box, "matplotlib always writes a view box"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {box.group()} role="img"'
        f" aria-labelledby={quoteattr(f'{name}-title {name}-desc')}>\n"
        f' <title id="{name}-title">{escape(title)}</title>\n <desc id="{name}-desc">{escape(description)}</desc>'
    )
    return re.sub(r"<svg[^>]*>", lambda _: head, body, count=1)


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
    return " ".join(f"--{name}: {colours[theme]};" for name, colours in COLOURS.items())
