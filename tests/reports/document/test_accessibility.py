"""The page in Chromium: axe-core finds nothing, it fits a phone, prints, and logs nothing; colours that can be read."""

import html
import json
import re
import subprocess
from importlib.resources import files

import pytest

from reports import build_report
from reports.document.svg import COLOURS
from tests.reports.document.chromium import CHROMIUM

RUN = """
const root = document.documentElement;
document.body.dataset.overflow = root.scrollWidth - root.clientWidth;
document.body.dataset.dark = matchMedia("(prefers-color-scheme: dark)").matches;
axe.run(document, {resultTypes: ["violations"]}).then((found) => {
  const told = found.violations.map((rule) => [rule.id, rule.nodes.map((node) => node.html.slice(0, 200))]);
  document.body.dataset.axe = JSON.stringify({passes: found.passes.map((rule) => rule.id), violations: told});
}, (error) => { document.body.dataset.axe = JSON.stringify({passes: [], violations: [["error", String(error)]]}); });
"""
WINDOWS = {
    "desktop, light": ["--window-size=1280,900", "--blink-settings=preferredColorScheme=1"],
    "phone, dark": ["--window-size=390,800", "--blink-settings=preferredColorScheme=0"],
}
MUST_PASS = {
    "document-title", "html-has-lang", "landmark-one-main", "heading-order", "scrollable-region-focusable",
    "meta-viewport", "button-name", "link-name", "list",
}  # fmt: skip


def chromium(folder, *arguments):
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    return subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", f"--user-data-dir={folder}", "--enable-logging=stderr",
         *arguments],
        capture_output=True, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(tracked_digits, tmp_path_factory):
    return build_report(["digits_sweep"], tracked_digits, tmp_path_factory.mktemp("page"))


@pytest.mark.browser
@pytest.mark.parametrize("window", WINDOWS)
def test_axe_finds_no_violation_and_nothing_overflows(page, window, tmp_path):
    axe = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    scripts = f"<script>{axe}</script><script>{RUN}</script></body>"
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text()).replace("</body>", scripts)
    (tmp_path / "page.html").write_text(text)
    arguments = (*WINDOWS[window], "--virtual-time-budget=60000", "--dump-dom", (tmp_path / "page.html").as_uri())
    done = chromium(tmp_path / "profile", *arguments)
    told = {name: re.search(rf'data-{name}="([^"]*)"', done.stdout)[1] for name in ("axe", "overflow", "dark")}
    found = json.loads(html.unescape(told["axe"]))
    assert found["violations"] == []
    assert set(found["passes"]) >= MUST_PASS
    assert int(told["overflow"]) <= 0
    assert told["dark"] == ("true" if "dark" in window else "false")
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []


@pytest.mark.browser
def test_it_prints_on_landscape_pages(page, tmp_path):
    out = tmp_path / "report.pdf"
    chromium(tmp_path / "profile", f"--print-to-pdf={out}", "--no-pdf-header-footer", page.as_uri())
    content = out.read_bytes()
    boxes = re.findall(rb"/MediaBox\s*\[\s*0\s+0\s+([\d.]+)\s+([\d.]+)\s*\]", content)
    assert content.startswith(b"%PDF") and boxes
    assert all(float(width) > float(height) for width, height in boxes)


def luminance(colour):
    """Relative luminance of '#rrggbb' (WCAG 2)."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    lighter, darker = sorted(map(luminance, (one, other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", [0, 1])
def test_every_colour_of_words_can_be_read_on_the_page_and_on_its_surfaces(theme):
    style = files("reports.document").joinpath("templates", "report.css").read_text(encoding="utf-8")
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[theme]
    own = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    words = {name: colours[theme] for name, colours in COLOURS.items() if name != "rule"}
    words |= {name: own[name] for name in ("link", "good", "bad", "warn")}
    for surface in ("page", "surface"):
        assert {name for name, colour in words.items() if contrast(colour, own[surface]) < 4.5} == set()
    assert contrast(own["warn"], own["warn-surface"]) >= 4.5
