"""Commands that look at sweeps that were trained: one pair of small sweeps, trained once, serves them all."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scipy import stats

import sweeper
from reports.analysis.statistics import estimate, welch
from sweeper.cli.commands import status as watching
from sweeper.launch.local import run_local
from sweeper.records.bucket_store import open_store
from sweeper.records.sweep_folder import SweepFile, SweepFolder, planting
from tests.sweeper.cli.answers import said, wrong
from tests.sweeper.processes import environment
from tests.sweeper.small_sweeps import TINY, a_launch, trained_storage
from tests.sweeper.terminal import Terminal
from tests.waiting import ending_of

UNDER_WAY_SECONDS = 5.0  # by then a command is, and would be done if it did not wait
# Alike in part: a K more, the authors' recipe, and as many seeds less.
OTHER = (
    TINY.replace("name: tiny", "name: other").replace("icml", "authors_code").replace("seeds: 2", "seeds: 3")
).replace("slot_epochs: [1, 2]", "slot_epochs: [1]")


@pytest.fixture(scope="module")
def two(trained, tmp_path_factory) -> Path:
    """A storage with the sweeps tiny (5 arms, 2 seeds) and other (3 arms, 3 seeds). Copy it before you change it."""
    folder = tmp_path_factory.mktemp("two")
    storage = trained_storage(trained, folder)
    (folder / "other.yaml").write_text(OTHER)
    launch = a_launch(folder / "other.yaml", storage)
    run_local(launch)
    file = SweepFile("other", "", f"sqlite:///{storage}/mlflow.db", dict(launch.digests))
    SweepFolder(storage, "other").write(file, OTHER)
    return storage


@pytest.fixture
def own(two, tmp_path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(two, tmp_path / "own"))


def values(capsys, storage, sweep, arm, what):
    rows = json.loads(said(capsys, "runs", sweep, "--arm", arm, "--storage", storage, "--json")[1])
    return [row[what] for row in rows]


# runs


def test_runs_are_chosen_and_sorted(capsys, two):
    def names(*arguments):
        _, out, _ = said(capsys, "runs", "tiny", "--storage", two, *arguments)
        return [line.rpartition("  COMPLETED")[0].strip() for line in out.splitlines()[1:]]

    assert len(names()) == 10
    assert names("--arm", "learned weights") == ["learned weights seed 0", "learned weights seed 1"]
    assert len(names("--arm", "gs")) == 4  # part of a name, however written
    rows = json.loads(said(capsys, "runs", "tiny", "--storage", two, "--sort", "validation_accuracy", "--json")[1])
    accuracies = [row["validation_accuracy"] for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    assert [row["seed"] for row in json.loads(said(capsys, "runs", "tiny", "--storage", two, "--sort", "seed",
                                                   "--json")[1])] == [0] * 5 + [1] * 5  # fmt: skip
    assert said(capsys, "runs", "tiny", "--storage", two, "--status", "failed")[1] == "tiny has no such trial.\n"
    assert json.loads(said(capsys, "runs", "tiny", "--storage", two, "--status", "FAILED", "--json")[1]) == []


# compare


def test_compare_pairs_arms_that_agree_in_all_that_varies_and_says_what_differs(capsys, two):
    code, out, _ = said(capsys, "compare", "tiny", "other", "--storage", two)
    assert code == 0
    lines = out.splitlines()
    assert "They differ in preset: icml against authors_code" in lines
    first = next(line for line in lines if line.startswith("K=2 GS, 1+2 epochs  validation"))
    ours = values(capsys, two, "tiny", "K=2 GS, 1+2", "validation_accuracy")
    theirs = values(capsys, two, "other", "K=2 GS", "validation_accuracy")  # there nothing else needs to be said
    gap = welch(ours, theirs)
    assert f"{100 * estimate(ours).mean:.2f} ± {100 * estimate(ours).half_width:.2f} %" in first
    assert f"({100 * gap.low:+.2f} to {100 * gap.high:+.2f})".replace("-", "−") in first
    assert first.endswith("2, 3")
    assert lines[lines.index(first) + 1].split()[0] == "test"
    assert "Only in tiny: K=2 GS, 2+1 epochs; K=2 PS, 2+1 epochs" in lines
    assert not any(line.startswith("Only in other") for line in lines)


def test_compare_as_json_and_by_seed(capsys, two):
    _, out, _ = said(capsys, "compare", "tiny:GS", "other:learned", "--storage", two, "--json", "--paired")
    answer = json.loads(out)
    assert [pair["a"]["arm"] for pair in answer["pairs"]] == ["K=2 GS, 1+2 epochs", "K=2 GS, 2+1 epochs"]
    pair = answer["pairs"][0]
    ours = values(capsys, two, "tiny", "K=2 GS, 1+2", "test_accuracy")
    theirs = values(capsys, two, "other", "learned", "test_accuracy")
    assert pair["test_difference"]["test"] == "paired"
    assert pair["test_difference"]["mean"] == pytest.approx(
        sum(a - b for a, b in zip(ours, theirs[:2], strict=True)) / 2
    )
    assert pair["differs"]["method"] == ["slot_machine", "learned"]
    assert answer["alone"] == []


def test_one_arm_faces_the_others_of_its_own_sweep(capsys, two):
    _, out, _ = said(capsys, "compare", "tiny:learned weights", "tiny", "--storage", two)
    assert len([line for line in out.splitlines() if "  validation  " in line]) == 4


def test_the_same_recipe_in_two_sweeps_is_one_arm(capsys, own):
    shutil.copytree(own / "sweeps" / "tiny", own / "sweeps" / "again")
    spec = own / "sweeps" / "again" / "spec.yaml"
    spec.write_text(spec.read_text().replace("name: tiny", "name: again"))
    _, out, _ = said(capsys, "compare", "tiny", "again", "--storage", own)
    assert out.count("same recipe") == 10
    assert "differ in" not in out


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        (["tiny", "tiny"], "compare: A and B are both 'tiny'"),
        (["tiny", "ohter"], "sweep: 'ohter' is not in"),
        (["tiny:K=9", "other"], "arm: 'K=9' is in no arm's name"),
        (["tiny:K=2 GS, 2+1 epochs", "tiny:K=2 GS, 2+1"], "have no arm in common; name one of each (SWEEP:ARM)"),
        (["tiny"], "compare: name A and B, or one sweep with --axes FIELD OTHER"),
        (["tiny", "other", "--axes", "selection", "options"], "compare: name A and B, or one sweep with --axes"),
        (["tiny", "--axes", "selection", "selection"], "axes: two fields of the recipe, not selection twice"),
        (["tiny", "--axes", "selektion", "options"], "'selektion' is no field of a recipe (did you mean selection?)"),
        (["tiny", "--axes", "selection", "width"], "axes: width is 0.2 in all arms of tiny; name a field that varies"),
        (
            ["tiny", "--axes", "selection", "method"],
            "no four arms of tiny differ in selection and method alone; they differ in ",
        ),
    ],
)
def test_what_cannot_be_compared_is_told(capsys, two, sides, message):
    assert message in wrong(capsys, "compare", *sides, "--storage", two)


def test_two_axes_are_compared_by_the_difference_of_their_differences(capsys, two):
    _, out, _ = said(capsys, "compare", "tiny", "--axes", "selection", "slot_epochs", "--storage", two, "--json")
    validation, test = json.loads(out)
    corners = [values(capsys, two, "tiny", f"K=2 {who}, {split}", "validation_accuracy")
               for split in ("1+2", "2+1") for who in ("GS", "PS")]  # fmt: skip
    (a, b), (c, d), (e, f), (g, h) = corners
    assert a + b != c + d, "or the sign of a difference would not be seen"
    assert validation["difference"] == pytest.approx(((g + h) - (e + f) - (c + d) + (a + b)) / 2)
    assert validation["first_difference"] == pytest.approx((c + d - a - b) / 2)
    assert (validation["value"], validation["against"]) == ("probabilistic", "greedy")
    assert (validation["other_value"], validation["other_against"], validation["n"]) == (2, 1, [2, 2, 2, 2])
    _, out, _ = said(capsys, "compare", "tiny", "--axes", "selection", "slot_epochs", "--storage", two, "--paired")
    lines = out.splitlines()
    by_seed = stats.ttest_1samp([g - e - c + a, h - f - d + b], 0).confidence_interval(0.95)
    shown = f"({100 * by_seed.low:+.2f} to {100 * by_seed.high:+.2f})".replace("-", "−")
    assert lines[1].startswith("probabilistic less greedy  validation") and shown in lines[1], (lines[1], shown)
    assert lines[-1] == "In no four that differ in these two alone: learned weights"
    assert test["measure"] == "test_accuracy"
    frame = sweeper.Sweep("tiny", two).interaction("selection", "slot_epochs")
    assert list(frame["difference"]) == [validation["difference"], test["difference"]]


# gc


def stored(storage):
    return {stage.key for stage in open_store(storage).stages()}


def test_gc_removes_what_no_sweep_refers_to_and_only_when_told(capsys, own, trained):
    assert said(capsys, "gc", "--storage", own)[1].endswith("A sweep refers to each of them.\n")
    everything, tiny = stored(own), set(a_launch(*trained, read_only=True).forest.stages)
    (own / "partials" / "ab").mkdir(parents=True)
    (own / "partials" / "ab" / ("ab" * 32)).write_bytes(b"on its way")
    (own / "damaged").mkdir()
    (own / "damaged" / "a").write_bytes(b"set aside")
    shutil.rmtree(own / "sweeps" / "other")
    code, out, _ = said(capsys, "gc", "--storage", own)
    assert code == 0
    lost = len(everything - tiny)
    assert f"No sweep refers to {lost} stages (" in out
    assert "Nothing was removed; to remove them: sweeper gc --storage " in out
    assert stored(own) == everything
    out = said(capsys, "gc", "--delete", "--older-than", "1", "--storage", own)[1]
    assert "0 stages (0 B) of them are older than 1 days" in out
    assert stored(own) == everything
    assert f"Removed: {lost} stages (" in said(capsys, "gc", "--delete", "--storage", own)[1]
    assert stored(own) == tiny
    assert said(capsys, "status", "tiny", "--storage", own)[1].startswith("tiny: completed\n")
    assert {path.name for path in own.glob("*/*/*")} >= {"ab" * 32}
    assert (own / "damaged" / "a").is_file()
    assert not list((own / "incoming").glob("*"))
    keys = {path.name for path in (own / "keys").glob("*/*")}
    assert keys == tiny


def test_gc_removes_nothing_while_it_cannot_tell_what_a_sweep_needs(capsys, own):
    everything = stored(own)
    shutil.rmtree(own / "sweeps" / "other")
    (own / "sweeps" / "tiny" / "spec.yaml").write_text("name: [")
    message = wrong(capsys, "gc", "--delete", "--storage", own)
    assert message.startswith("gc: nothing is removed, as 'tiny' cannot be read: ")
    assert stored(own) == everything


def test_gc_spares_whatever_a_running_launch_may_have_planned_with(capsys, own):
    # A spec that shrank: its last epochs are wanted no more, but a launch that began before that would still use them.
    spec = own / "sweeps" / "tiny" / "spec.yaml"
    shutil.rmtree(own / "sweeps" / "other")
    spec.write_text(TINY.replace("[1, 2]", "[1]"))
    everything = stored(own)
    with SweepFolder(own, "tiny").lock():
        out = said(capsys, "gc", "--storage", own)[1]
    at_rest = said(capsys, "gc", "--storage", own)[1]
    assert out != at_rest
    assert stored(own) == everything


def test_gc_removes_nothing_while_a_launch_may_ask_for_anything(capsys, own):
    searching = SweepFolder(own, "searching")
    text = (
        TINY.replace("name: tiny", "name: searching")
        .partition("axes:")[0]
        .replace("slot_epochs: [1, 2]", "slot_epochs: 2")
    )
    text += "search: {trials: 2, sampler: random, space: {slot_learning_rate: {log_uniform: [0.1, 1.0]}}}\n"
    searching.write(SweepFolder(own, "tiny").read(), text)
    with searching.lock():
        assert "while 'searching' searches" in wrong(capsys, "gc", "--delete", "--storage", own)
        assert said(capsys, "gc", "--storage", own)[0] == 0


def test_gc_waits_for_a_launch_that_looks_what_is_stored(own, tmp_path):
    command = [sys.executable, "-m", "sweeper", "gc", "--delete", "--storage", str(own)]
    with planting(own):
        process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(UNDER_WAY_SECONDS)
        assert process.poll() is None
    assert ending_of(process) == 0
    process.stdout.close()


# status --watch


def test_watching_ends_when_nothing_runs(capsys, two):
    code, out, _ = said(capsys, "status", "--watch", "--storage", two)
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [["other", "completed"], ["tiny", "completed"]]
    (line,) = said(capsys, "status", "tiny", "--watch", "--json", "--storage", two)[1].splitlines()
    assert json.loads(line)[0]["completed"] == 10


def test_what_is_watched_is_printed_whenever_it_changes_and_shown_in_place_at_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(watching, "PAUSE_SECONDS", 0.0)
    monkeypatch.setenv("TERM", "xterm-256color")
    seen = [("one", True), ("one", True), ("two", True), ("three", False)]
    looks = iter(seen)
    watching.watch_until_nothing_runs(lambda: next(looks))
    assert capsys.readouterr().out == "one\ntwo\nthree\n"
    looks, terminal = iter(seen), Terminal()
    watching.watch_until_nothing_runs(lambda: next(looks), terminal)
    assert "\x1b[2K" in terminal.getvalue()  # a line is taken back
    assert terminal.getvalue().replace("\x1b[?25h", "").rstrip().endswith("three")


# schema


def test_the_schema_goes_where_it_is_told(capsys, tmp_path):
    printed = json.loads(said(capsys, "schema")[1])
    code, out, _ = said(capsys, "schema", "-o", tmp_path / "new" / "schema.json")
    assert code == 0
    assert f"# yaml-language-server: $schema={tmp_path}/new/schema.json" in out
    assert json.loads((tmp_path / "new" / "schema.json").read_text()) == printed
    assert printed["properties"]["recipe"]["properties"]["method"]["anyOf"][0]["enum"]
    (tmp_path / "file").write_text("")
    assert "out: cannot write" in wrong(capsys, "schema", "-o", tmp_path / "file" / "schema.json")
