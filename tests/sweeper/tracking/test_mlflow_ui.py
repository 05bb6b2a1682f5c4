"""MLflow's own UI in a real Chromium, on a server that asks for a password: what a person finds of a sweep, and how."""

import re
import shutil
from dataclasses import replace
from urllib.parse import quote

import pytest

from reports import build_report
from sweeper.tracking.experiment import log_report, sweep_page
from sweeper.tracking.mlflow_client import client
from sweeper.tracking.projection import Projection
from sweeper.tracking.run_state import SweepFacts
from sweeper.tracking.tracker import Tracker
from tests.sweeper.small_sweeps import a_launch
from tests.sweeper.tracking.projected import FACTS
from tests.waiting import PATIENCE_SECONDS

pytestmark = [pytest.mark.cluster, pytest.mark.browser, pytest.mark.xdist_group("login_server")]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
HOSTILE = "<img src=x onerror=\"document.title='stolen'\"><script>document.title='stolen'</script>"


@pytest.fixture(scope="module")
def tracked(server, trained, tmp_path_factory):
    """The tiny sweep in it, with its report; and another that calls itself names."""
    varied = ("selection", "slot_epochs")
    facts = replace(FACTS, tags={**FACTS.tags, "owner": "ada"}, varied=varied)
    launch = a_launch(*trained, read_only=True)
    _project(server, facts, launch)
    page = build_report(["tiny"], server.address, tmp_path_factory.mktemp("report"))
    assert log_report(server.address, ["tiny"], page) == ""
    hostile = a_launch(*trained, read_only=True)
    hostile.labels = [HOSTILE] * len(hostile.labels)
    _project(server, SweepFacts("hostile", HOSTILE, "name: hostile\n", "s" * 64, {"owner": HOSTILE}, varied), hostile)
    return launch


def _project(server, facts, launch):
    tracker = Tracker(Projection(server.address, None, facts), launch, lambda: 1.5)
    tracker.start()
    tracker.close(PATIENCE_SECONDS)
    assert tracker.behind() == 0, tracker.problem


@pytest.fixture
def browser(tracked, server, tmp_path):
    """A window of somebody who knows the password and has never been here."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    login = {"username": "admin", "password": server.password}
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=CHROMIUM, headless=True, args=FLAGS,
            viewport={"width": 1600, "height": 1000}, http_credentials=login,
        )  # fmt: skip
        context.set_default_timeout(1000 * PATIENCE_SECONDS)
        # MLflow's assistant opens by itself the first time, over what one came for.
        context.add_init_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
        yield context
        context.close()


def runs_of(server, sweep):
    mlflow = client(server.address)
    experiment = mlflow.get_experiment_by_name(sweep)
    runs = mlflow.search_runs([experiment.experiment_id], max_results=100)
    (parent,) = [run for run in runs if run.data.tags["sweeper.kind"] == "sweep"]
    return experiment.experiment_id, parent, [run for run in runs if run is not parent]


def test_nothing_is_shown_to_who_has_no_password(server, tracked, browser):
    stranger = browser.browser.new_context() if browser.browser else None
    with_none = (stranger or browser).request.get(f"{server.address}/", headers={"Authorization": ""})
    assert with_none.status == 401


def test_the_link_of_a_sweep_opens_its_trials_best_first_with_what_varies_in_them(server, browser):
    page = browser.new_page()
    page.goto(f"{server.address}/{sweep_page(server.address, 'tiny')}")
    page.get_by_text("10 matching runs").wait_for()
    names = page.get_by_role("grid").locator("a[href*='/runs/']")
    names.first.wait_for()
    heads = page.get_by_role("columnheader").all_inner_texts()
    for wanted in ("method", "selection", "slot_epochs", "validation_accuracy", "test_accuracy", "train_seconds"):
        assert wanted in "\n".join(heads)
    _, parent, trials = runs_of(server, "tiny")
    best = max(run.data.metrics["validation_accuracy"] for run in trials)
    assert names.first.inner_text() in {
        run.info.run_name for run in trials if run.data.metrics["validation_accuracy"] == best
    }
    assert parent.info.run_name not in names.all_inner_texts()  # the sweep's own run is none of its trials
    page.get_by_text("A tiny sweep.").first.wait_for()
    page.get_by_text("Trials, best first").first.wait_for()


def test_the_sweeps_own_run_says_what_it_is_whose_and_leads_to_its_trials(server, browser):
    experiment, parent, trials = runs_of(server, "tiny")
    page = browser.new_page()
    page.goto(f"{server.address}/#/experiments/{experiment}/runs/{parent.info.run_id}?workflowType=machine_learning")
    for text in ("A tiny sweep.", "trials_completed", "epochs_shared", "ada"):
        page.get_by_text(text).first.wait_for()
    child = page.get_by_role("link", name=re.compile(r"seed [01]$")).first
    name = child.inner_text()
    assert name in {run.info.run_name for run in trials}
    child.click()
    page.get_by_role("heading", name=name).wait_for()


def test_the_curves_of_two_trials_are_drawn_over_each_other(server, browser):
    experiment, _, trials = runs_of(server, "tiny")
    first, second = sorted(trials, key=lambda run: run.info.run_name)[:2]
    runs = quote(f'["{first.info.run_id}","{second.info.run_id}"]')
    metric = f'metric="validation_accuracy"&plot_metric_keys=["validation_accuracy"]&experiments=["{experiment}"]'
    page = browser.new_page()
    page.goto(f"{server.address}/#/metric?runs={runs}&{quote(metric, safe='=&')}&workflowType=machine_learning")
    for run in (first, second):
        page.get_by_text(f"{run.info.run_name} (validation_accuracy)").first.wait_for()
    page.locator(".js-plotly-plot .scatterlayer path.js-line").first.wait_for(state="attached")
    plots = (
        "[...document.querySelectorAll('.js-plotly-plot')].flatMap(plot => plot.data.map(line => [line.name, line.y]))"
    )
    drawn = {name: values for name, values in page.evaluate(plots)}
    for run in (first, second):
        curve = client(server.address).get_metric_history(run.info.run_id, "validation_accuracy")
        assert drawn[run.info.run_name] == [point.value for point in sorted(curve, key=lambda point: point.step)]


def test_the_report_is_found_from_the_sweep_and_opens(server, browser):
    page = browser.new_page()
    page.goto(f"{server.address}/{sweep_page(server.address, 'tiny')}")
    with browser.expect_page() as opened:  # the first words of the description, which is folded to its first line
        page.get_by_role("link", name="Report", exact=True).click()
    frame = opened.value.frame_locator("iframe").first
    frame.get_by_role("heading", level=1).first.wait_for()
    frame.get_by_role("table").first.wait_for()


def test_names_that_are_code_are_shown_as_text(server, browser):
    experiment, parent, trials = runs_of(server, "hostile")
    page = browser.new_page()
    for path in (sweep_page(server.address, "hostile"),
                 f"#/experiments/{experiment}/runs/{parent.info.run_id}?workflowType=machine_learning",
                 f"#/experiments/{experiment}/runs/{trials[0].info.run_id}?workflowType=machine_learning"):  # fmt: skip
        page.goto("about:blank")
        page.goto(f"{server.address}/{path}")
        page.get_by_text("<img src=x").first.wait_for()
        assert "stolen" not in page.title()
        assert page.locator("img[src='x']").count() == 0
