"""What is written in the figures of committed results: words and numbers for people, nothing of the tools."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[3]
SVG = "{http://www.w3.org/2000/svg}"
FIGURES = sorted([*ROOT.glob("docs/results/*/figures/*.svg"), *ROOT.glob("docs/images/*.svg")])
OF_TOOLS = re.compile(r"[$\\{}]|mathdefault|\bnan\b|\bNone\b|cPU|gPU|fLOP|seeds? \d+ and \d+ and|_")


def written(path):
    return [element.text or "" for element in ElementTree.parse(path).iter() if element.tag in TEXTS]


TEXTS = {f"{SVG}text", f"{SVG}tspan", f"{SVG}title", f"{SVG}desc"}


def test_there_are_figures_to_look_at():
    assert len(FIGURES) > 50


@pytest.mark.parametrize("folder", sorted({path.parent for path in FIGURES}), ids=lambda folder: folder.parent.name)
def test_no_figure_shows_markup_missing_values_or_broken_words(folder):
    found = {path.name: [text for text in written(path) if OF_TOOLS.search(text)] for path in folder.glob("*.svg")}
    assert {name: texts[:3] for name, texts in found.items() if texts} == {}


def test_epochs_are_whole_numbers():
    for path in FIGURES:
        root = ElementTree.parse(path).getroot()
        if "Epochs" not in written(path):
            continue
        ticks = [group for group in root.iter(f"{SVG}g") if re.search(r"-xtick_\d+$", group.get("id", ""))]
        numbers = [text.text for tick in ticks for text in tick.iter(f"{SVG}text")]
        assert numbers and all(re.fullmatch(r"\d+", number) for number in numbers), path.name
