"""The page's script in Chromium: marks and rows light up together, keys move between marks, methods are hidden."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

from reports import build_report
from tests.reports.document.chromium import a_page

MOST_BYTES = 5_000
LIT = "[...document.querySelectorAll('.lit')].map((each) => [each.tagName.toLowerCase(), each.dataset.arm])"


@pytest.fixture(scope="module")
def path(tracked_digits, tmp_path_factory) -> Path:
    return build_report(["digits_sweep"], tracked_digits, tmp_path_factory.mktemp("page"))


def test_the_script_is_small_and_asks_nothing_of_a_network():
    script = files("reports.document").joinpath("templates", "report.js").read_text(encoding="utf-8")
    assert len(script.encode()) <= MOST_BYTES
    assert not re.search(r"fetch|XMLHttp|import|http|eval|innerHTML", script)


@pytest.mark.browser
def test_a_mark_lights_up_the_rows_of_its_arm_and_a_row_its_marks(path):
    with a_page(path) as page:
        mark = page.locator(".chosen .mark[data-arm='K=8 GS']").first
        mark.hover()
        assert ["tr", "K=8 GS"] in page.evaluate(LIT)
        assert page.locator(".tip").inner_text().startswith("K=8 GS: ")
        page.locator("tr[data-arm='K=2 GS']").first.hover()
        lit = page.evaluate(LIT)
        assert ["g", "K=2 GS"] in lit and all(arm == "K=2 GS" for _, arm in lit)


@pytest.mark.browser
def test_arrows_go_from_mark_to_mark_and_escape_lets_go(path):
    with a_page(path) as page:
        page.evaluate("document.querySelector('.chosen .mark').focus()")
        first = page.evaluate("document.activeElement.dataset.arm")
        page.keyboard.press("ArrowRight")
        second = page.evaluate("document.activeElement.dataset.arm")
        assert first != second and ["g", second] in page.evaluate(LIT)
        page.keyboard.press("Escape")
        assert page.evaluate(LIT) == []
        stops = "document.querySelectorAll('.chosen svg')[0].querySelectorAll('.mark[tabindex=\"0\"]').length"
        assert page.evaluate(stops) == 1, "a picture is one stop for the tab key"


@pytest.mark.browser
def test_a_key_of_the_legend_hides_the_marks_of_its_method(path):
    with a_page(path) as page:
        key = page.locator(".chosen [data-key='gs']").first
        key.focus()
        page.keyboard.press("Enter")
        assert key.get_attribute("aria-pressed") == "false"
        assert not page.locator(".chosen .mark[data-family='gs']").first.is_visible()
        assert page.locator(".chosen .mark[data-family='ps']").first.is_visible()


@pytest.mark.browser
def test_the_cost_is_chosen_without_any_script(path):
    with a_page(path, java_script_enabled=False) as page:
        labels = page.locator(".choice > label")
        assert labels.count() >= 3
        assert page.locator(".chosen").first.is_visible()
        labels.nth(1).click()
        assert not page.locator(".chosen").first.is_visible()
        assert page.locator(".chosen").nth(1).is_visible()


@pytest.mark.browser
def test_a_link_opens_what_is_folded(path):
    with a_page(path) as page:
        page.locator("nav a[href='#evidence']").click()
        page.wait_for_function("document.querySelector('#evidence > details').open")


@pytest.mark.browser
def test_few_words_stand_before_the_first_fold(path):
    with a_page(path) as page:
        page.evaluate(
            "document.querySelectorAll('svg').forEach((each) => each.remove())"
        )  # numbers at axes are no words
        fold = page.locator("details:visible > summary").first.inner_text()
        before = page.locator("body").inner_text().partition(fold)[0]
        assert 100 < len([word for word in before.split() if re.search(r"\w", word)]) < 600
