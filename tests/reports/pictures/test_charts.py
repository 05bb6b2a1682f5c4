"""Which pictures there are, what they are drawn from, and that they hide nothing they should say."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from reports.document.svg import COLOURS, THEME, standalone
from reports.pictures.canvas import Words
from reports.pictures.charts import described, figures_of
from reports.pictures.curves import curves_of
from reports.pictures.drawing import view
from reports.pictures.figures import accuracy_over
from reports.sections.composition import arms_table
from reports.tracked.trials import trials_frame
from tests.reports.made_up import digits_sweep, trial

WORDS = Words("name", "A title", "What it shows")
SLOT = {"method": "slot_machine", "slot_epochs": 40}
SVG = "{http://www.w3.org/2000/svg}"


def arms(records):
    return arms_table(trials_frame(records), ("sweep", "arm_hash"))


def figures(records):
    return {figure.name: figure for figure in figures_of(arms(records), "s")}


@pytest.fixture(scope="module")
def digits():
    return figures(digits_sweep())


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_a_sweep_of_everything_has_a_picture_of_each_kind(digits):
    assert set(digits) == {"s-arms", "s-options", "s-splits-40"}


def test_a_sweep_without_what_a_picture_compares_has_no_such_picture():
    alone = [trial({"method": "learned", "finetune_epochs": 40, "seed": seed}) for seed in range(3)]
    assert figures(alone) == {}
    one_k = [trial({**SLOT, "options": 8, "seed": seed}) for seed in range(3)]
    assert set(figures([*alone, *one_k])) & {"s-options", "s-splits-40"} == set()


def test_problems_are_different_pictures():
    elsewhere = [trial({**SLOT, "options": k, "dataset": "mnist", "seed": s}) for k in (2, 4) for s in range(3)]
    names = set(figures([*digits_sweep(), *elsewhere]))
    assert {"s-options-lenet-on-digits", "s-options-lenet-on-mnist"} <= names


def test_accuracies_are_drawn_where_they_are(digits):
    """Read back from the drawing: the markers' heights are linear in the accuracies of the data."""
    figure = digits["s-options"]
    marks = re.findall(r'<g id="s-options-point-\d+-\d+" class.*?<use [^>]*?y="([\d.]+)"', figure.svg, re.DOTALL)
    heights = np.array(marks, dtype=float)
    accuracy = figure.data["accuracy"].to_numpy()
    assert len(heights) == len(accuracy) == 6
    assert np.corrcoef(heights, accuracy)[0, 1] == pytest.approx(-1.0, abs=1e-6)


def test_names_axes_and_units_are_written(digits):
    assert "Test accuracy, %" in texts(digits["s-options"].svg)
    assert {"GS", "PS", "learned weights"} <= set(texts(digits["s-options"].svg))


def test_the_alternative_text_tells_the_numbers(digits):
    (learned,) = [row for row in arms(digits_sweep()).to_dict("records") if row["method"] == "learned"]
    said = f"learned weights {100 * learned['test_accuracy']:.2f} ± {100 * learned['test_accuracy_half_width']:.2f} %"
    assert all(said in figure.alternative for figure in digits.values())
    for figure in digits.values():
        description = ElementTree.fromstring(figure.svg).find("{http://www.w3.org/2000/svg}desc")
        assert description.text == figure.alternative


def test_a_long_description_says_how_many_it_leaves_out():
    points = pd.DataFrame({"label": [f"arm {i}" for i in range(15)], "accuracy": 0.9, "half_width": np.nan, "n": 1})
    assert described(points).endswith("; and 3 more arms.")


def test_the_same_numbers_give_the_same_bytes(digits):
    again = figures(digits_sweep())
    assert {name: figure.svg for name, figure in digits.items()} == {name: f.svg for name, f in again.items()}


def test_a_drawing_has_no_date_no_font_and_no_colour_but_the_themes(digits):
    for figure in digits.values():
        assert not re.search(r"metadata|font-family|matplotlib\.org", figure.svg)
        known = {light for light, _ in THEME.values()} | {"#000000", "#ffffff"}
        assert set(re.findall(r"#[0-9a-f]{6}\b", figure.svg)) <= known


def test_a_file_has_its_own_colours_for_light_and_dark(digits):
    file = standalone(digits["s-arms"].svg)
    ElementTree.fromstring(file.encode())
    assert "prefers-color-scheme: dark" in file
    assert all(f"--{name}: {light}" in file and f"--{name}: {dark}" in file for name, (light, dark) in THEME.items())


def luminance(colour):
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [channel / 12.92 if channel <= 0.03928 else ((channel + 0.055) / 1.055) ** 2.4 for channel in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("theme", "page"), [(0, "#ffffff"), (1, "#13171b")])
def test_every_colour_that_words_have_can_be_read(theme, page):
    for name, colours in COLOURS.items():
        high, low = sorted((luminance(colours[theme]), luminance(page)), reverse=True)
        assert name == "rule" or (high + 0.05) / (low + 0.05) >= 4.5


def test_what_lies_far_below_is_written_instead_of_squashing_the_rest():
    records = [trial({**SLOT, "options": k, "seed": s}) for k in (1, 2, 4, 8) for s in range(3)]
    found = figures(records)
    assert "Off the scale, below: K=1 GS 1" in found["s-options"].caption
    assert any(text and text.startswith("◂ 1") for text in texts(found["s-arms"].svg))
    assert 1.0 in set(found["s-options"].data["x"]), "the data beside the figure has it"


def test_one_wide_interval_does_not_squash_the_rest_and_axes_end_at_100_percent():
    means, narrow = pd.Series([0.90, 0.95, 0.97]), pd.Series([0.01, 0.01, 0.01])
    assert view(means, narrow) == pytest.approx((0.89, 0.98))
    low, high = view(means, pd.Series([0.01, 0.01, 0.55]))
    assert (low, high) == pytest.approx((0.89, 1.04))  # of the wide one no more than the means are apart
    assert view(pd.Series([0.9]), pd.Series([np.nan])) == (0.9, 0.9)
    assert view(means, narrow, pd.Series([0.5])) == pytest.approx((0.5, 0.98))
    scattered = [
        trial({**SLOT, "options": k, "seed": seed}, test_accuracy=accuracy)
        for k in (2, 4)
        for seed, accuracy in enumerate([0.99, 0.8, 0.99])
    ]
    found = figures(scattered)
    for picture in (found["s-options"].svg, found["s-arms"].svg):
        ticks = [text for text in texts(picture) if re.fullmatch(r"[\d.]+", text or "")]
        assert 90 <= max(map(float, ticks)) <= 100


def test_numbers_on_an_axis_are_those_of_arms_where_there_are_few():
    records = [trial({**SLOT, "options": k, "seed": s}) for k in (2, 3, 4, 7, 8, 15) for s in range(2)]
    svg = ElementTree.fromstring(figures(records)["s-options"].svg)
    ticks = [group for group in svg.iter(f"{SVG}g") if re.search(r"-xtick_\d+$", group.get("id", ""))]
    numbers = [text.text for tick in ticks for text in tick.iter(f"{SVG}text")]
    assert numbers == ["2", "3", "4", "7", "15"], "8 has no room beside 7"


def test_a_picture_of_one_problem_names_its_arms_without_it():
    elsewhere = [
        trial({**SLOT, "options": k, "dataset": "mnist", "seed": s}, arm=f"Lenet MNIST K={k} GS")
        for k in (2, 4) for s in range(3)
    ]  # fmt: skip
    found = figures([*digits_sweep(), *elsewhere])
    for name, said in (("s-arms-lenet-on-mnist", {"K=2 GS", "K=4 GS"}), ("s-options-lenet-on-mnist", {"GS"})):
        assert said <= set(texts(found[name].svg)) and "name" not in found[name].data
    assert set(found["s-arms-lenet-on-mnist"].data["label"]) == {"Lenet MNIST K=2 GS", "Lenet MNIST K=4 GS"}


def test_of_many_lines_the_best_are_drawn_and_the_caption_says_so():
    records = [
        trial({**SLOT, "options": k, "slot_weight_decay": decay * 1e-4}, validation_accuracy=0.9 + decay / 1000)
        for k in (2, 4) for decay in range(12)
    ]  # fmt: skip
    figure = figures(records)["s-options"]
    assert "Shown: the best 8 of 12 lines by validation accuracy." in figure.caption
    assert figure.data["series"].nunique() == 8


def test_markup_in_labels_is_text():
    points = pd.DataFrame({
        "series": ["<b>&$x_1$"] * 2, "family": "gs", "style": 0, "x": [2.0, 4.0], "accuracy": [0.9, 0.95],
        "half_width": 0.01, "n": 3, "published": np.nan, "label": "x",
    })  # fmt: skip
    baseline = pd.DataFrame({"name": ["</svg>"], "accuracy": [0.9], "half_width": [np.nan], "n": [1]})
    written = texts(accuracy_over(points, baseline, "x", True, WORDS).svg)
    assert {"<b>&$x_1$", "</svg>"} <= set(written)


def made_up_curves(runs, metric):
    epochs = np.arange(1, 41)
    rows = [(run, epoch, 0.9 - 0.5 / epoch) for run in runs for epoch in epochs]
    return pd.DataFrame(rows, columns=["run_id", "epoch", "value"])


def test_curves_are_drawn_for_the_best_arm_of_each_family_and_read_in_few_requests():
    asked = []

    def read(runs, metric):
        asked.append((len(runs), metric))
        return made_up_curves(runs, metric)

    found = {figure.name: figure for figure in curves_of(arms(digits_sweep()), "s", read)}
    assert set(found) == {"s-training", "s-training-time"}
    assert asked == [(12, "validation_accuracy")]
    data = found["s-training"].data
    assert data["series"].nunique() == 4
    last = data[data["epoch"] == 40]
    assert last["value"].tolist() == pytest.approx([0.9 - 0.5 / 40] * 4)
    assert (last["n"] == 3).all()


def test_without_curves_there_is_no_picture_of_them():
    nothing = pd.DataFrame({"run_id": [], "epoch": [], "value": []})
    assert curves_of(arms(digits_sweep()), "s", lambda runs, metric: nothing) == []
