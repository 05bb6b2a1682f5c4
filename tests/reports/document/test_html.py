"""The page: needs no network, runs nothing but its own script, and can be read by machines that read to people."""

import base64
import hashlib
import re
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from reports import build_report
from reports.document.html import NOWHERE
from tests.reports.document.chromium import CHROMIUM
from tests.reports.made_up import digits_sweep, track

SCRIPT = "document.title='owned'"
HOSTILE = f'<img src=x onerror="{SCRIPT}"></script><script>{SCRIPT}</script>{{{{ 7 * 7 }}}}$\\frac{{1}}'


class Page(HTMLParser):
    """Every tag with its attributes, and the text that is shown."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.shown, self._hidden = [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag):
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data):
        if not self._hidden:
            self.shown.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def build(uri, folder, records, **kept):
    track(uri, "digits_sweep", records, **kept)
    return build_report(["digits_sweep"], uri, folder / "out")


@pytest.fixture(scope="module")
def page(tracked_digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    return Page(build_report(["digits_sweep"], tracked_digits, folder).read_text())


@pytest.fixture(scope="module")
def hostile(empty_database, tmp_path_factory):
    """The page of a sweep whose runs carry markup, script and more wherever they can."""
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copy(empty_database, folder / "mlflow.db")
    records = [
        record | {"name": HOSTILE + record["name"], "arm": HOSTILE + record["arm"], "device": HOSTILE, "host": HOSTILE}
        for record in digits_sweep()
        if record["seed"] == 0
    ]
    records[0] |= {"status": "FAILED", "failure": HOSTILE + "\x0b\N{PILE OF POO}"}
    tags = {"mlflow.note.content": HOSTILE, "sweeper.spec_hash": HOSTILE}
    return build(f"sqlite:///{folder / 'mlflow.db'}", folder, records, tags=tags, spec=HOSTILE)


def test_the_page_fetches_nothing(page):
    assert not {tag for tag, _ in page.tags} & {"link", "img", "iframe", "object", "embed", "audio", "video", "base"}
    assert all("src" not in attributes for _, attributes in page.tags)
    assert not any("url(" in attributes.get("style", "") for _, attributes in page.tags)
    links = {attributes["href"] for attributes in page.all("a")}
    assert all(link.startswith(("#", "tables/", "figures/", "http://127.0.0.1:5000/#/")) for link in links)


def test_only_the_pages_own_script_may_run(page, tracked_digits, tmp_path):
    text = build_report(["digits_sweep"], tracked_digits, tmp_path).read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv"))
    assert (
        policy
        == f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'; {NOWHERE}"
    )


def test_rows_link_to_their_runs(page):
    links = [attributes["href"] for attributes in page.all("a")]
    assert sum(bool(re.search(r"/experiments/\d+/runs/[0-9a-f]{32}$", link)) for link in links) == 33
    assert any("searchFilter=tags.%60sweeper.arm_hash%60" in link for link in links)


def test_every_picture_says_in_words_what_it_shows(page):
    pictures = [attributes for attributes in page.all("svg")]
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert len(pictures) >= 5
    for picture in pictures:
        assert picture["role"] in ("img", "group")
        assert set(picture["aria-labelledby"].split()) <= ids
    assert any("On the Pareto front: " in text and "± " in text for text in page.shown)


def test_ids_are_unique(page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_headings_skip_no_level_and_there_is_one_title(page):
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_tables_have_heads_of_columns_and_rows_and_scroll_by_key(page):
    assert {attributes["scope"] for attributes in page.all("th")} == {"col", "row"}
    for tag, attributes in page.tags:
        if attributes.get("role") == "group" and tag != "svg":
            assert attributes["tabindex"] == "0"
            assert attributes["aria-label"]


def test_markup_in_runs_is_text(hostile):
    page = Page(hostile.read_text())
    assert not page.all("img")
    assert len(page.all("script")) == 1
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert any("<img src=x onerror" in text for text in page.shown), "shown as it is"
    assert not any("49" in text and "owned" in text for text in page.shown), "templates in it are not run"


def test_markup_in_runs_is_text_in_svg_and_markdown_too(hostile):
    from xml.etree import ElementTree

    for path in (hostile.parent / "figures").glob("*.svg"):
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(path).iter()}
        assert not tags & {"script", "img", "foreignObject", "a"}
    text = hostile.with_name("report.md").read_text()
    outside_code = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    assert not re.search(r"(?<!\\)<(img|script|/script)", outside_code)


def test_csv_cells_are_no_formulas(tracking_uri, tmp_path):
    records = [record | {"arm": "=HYPERLINK(1)" + record["arm"], "device": "@SUM(1)"} for record in digits_sweep()[:2]]
    text = build(tracking_uri, tmp_path, records).with_name("table.csv").read_text()
    assert "'=HYPERLINK" in text
    assert not re.search(r"(^|,)[=@]", text, re.MULTILINE)


def in_browser(page, folder):
    """The page's DOM after its scripts have run, and what it wrote to the console."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", f"--user-data-dir={folder}", "--enable-logging=stderr",
         "--dump-dom", page.as_uri()],
        capture_output=True, text=True,
    )  # fmt: skip
    assert "</html>" in done.stdout, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.browser
@pytest.mark.parametrize("policy", ["with its policy", "without it"])
def test_hostile_runs_execute_nothing_in_chromium(hostile, tmp_path, policy):
    page = tmp_path / "page.html"
    text = hostile.read_text()
    page.write_text(text if policy == "with its policy" else re.sub(r"<meta http-equiv[^>]*>", "", text))
    dom, console = in_browser(page, tmp_path / "profile")
    assert "<title>digits_sweep: report</title>" in dom
    assert "<img" not in dom
    assert console == []


SORT = """
const table = [...document.querySelectorAll("table")].find((each) => each.ariaLabel === "Accuracy and cost per arm");
const heads = [...table.querySelectorAll("thead button")];
const first = () => table.tBodies[0].rows[0].children[0].textContent;
const click = (title) => { heads.find((each) => each.firstChild.textContent === title).click(); return first(); };
const titles = ["Test accuracy", "Test accuracy", "Arm", "Test before finetuning"];
document.body.dataset.order = titles.map(click).join(" | ");
document.body.dataset.sort = [...table.querySelectorAll("th[aria-sort]")].map((each) => each.ariaSort).join();
"""


@pytest.mark.browser
def test_tables_sort_in_chromium(tracked_digits, tmp_path):
    text = build_report(["digits_sweep"], tracked_digits, tmp_path / "out").read_text()
    page = tmp_path / "page.html"
    page.write_text(re.sub(r"<meta http-equiv[^>]*>", "", text).replace("</body>", f"<script>{SORT}</script></body>"))
    dom, console = in_browser(page, tmp_path / "profile")
    means = {}
    for record in digits_sweep():
        means.setdefault(record["arm"], []).append(record["test_accuracy"])
    ranked = sorted(means, key=lambda arm: -sum(means[arm]))
    order = re.search(r'data-order="([^"]*)"', dom)[1].split(" | ")
    assert order[0] == ranked[0], "the first click: best first"
    assert order[1] == ranked[-1], "the second click: turned round"
    assert order[2] == min(means), "text: from A"
    assert "+" in order[3], "arms without a value stay last"
    assert 'data-sort="descending"' in dom
    assert console == []
