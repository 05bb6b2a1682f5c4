"""Methods from a folder of the user's own: planned, trained, kept, told of, and never run unasked."""

import json
import shutil

import pytest

from search_spaces.expansion import as_spec, expand, searches
from search_spaces.labels import arm_labels
from search_spaces.loading import load_spec, spec_of
from sweeper.cli.plugins.agreed import plugin_reader, submitted
from sweeper.launch.ray_jobs import SPEC as SUBMITTED
from sweeper.launch.ray_jobs import write_submission
from sweeper.launch.view import SweepView
from sweeper.records.sweep_folder import SweepFolder
from tests.sweeper.cli.answers import said, wrong
from tests.sweeper.plugins.written import SPARSE, SPEC, forget, launched, modules, read, written
from trainers.errors import InvalidInput
from trainers.plugins.known import short
from trainers.recipe.recipe import Recipe

ALLOW = "--allow-plugins"


@pytest.mark.slow
def test_a_sweep_with_a_plugin_is_told_of_without_its_code(tmp_path, storage, capsys):
    spec = written(tmp_path)
    code, out, _ = said(capsys, "plan", spec, "--storage", storage, ALLOW)
    assert code == 0 and "my_methods.sparse, density 0.25" in out
    launched(capsys, spec, storage)
    view = SweepView(SweepFolder(storage, "own"))
    (digest,) = (entry.digest for entry in view.spec.plugins)
    kept = storage / "plugins" / digest / "files" / "__init__.py"
    assert kept.read_text() == SPARSE
    record = view.launch.records[view.launch.forest.trials[0].stages[-1]]
    assert record is not None and view.results[0].environment["plugins"][f"my_methods@{digest}"] == digest
    assert "pydantic" in view.results[0].environment["plugins"]
    forget()
    shutil.rmtree(tmp_path / "my_methods")
    for words in (["status", "own"], ["runs", "own"], ["compare", "own:0.25", "own:learned"], ["gc"],
                  ["report", "own", "-o", tmp_path / "report"], ["history", "own"]):  # fmt: skip
        code, out, message = said(capsys, *words, "--storage", storage)
        assert code == 0, message
        assert not modules(), words
    table = (tmp_path / "report" / "table.csv").read_text()
    assert '"{""density"": 0.25}"' in table and "my_methods.sparse" in table
    assert r"my\_methods.sparse, density 0.25" in (tmp_path / "report" / "report.md").read_text()
    # What no sweep names goes with gc, what this one names goes with it; both say so first.
    left = storage / "plugins" / ("e" * 64)
    shutil.copytree(storage / "plugins" / digest, left)
    for words, lines, stays in (
        (["gc"], "No sweep names 1 plug-in whose files are kept: my_methods@eeeeeeee.", True),
        (["gc", "--delete", "--yes"], "Removed: 0 stages (0 B) and 1 plug-in.", False),
        (["delete", "own"], "Nor to 1 plug-in, whose files are kept with it.", False),
    ):
        code, out, message = said(capsys, *words, "--storage", storage)
        assert code == 0 and lines in out, out + message
        assert left.exists() is stays and kept.exists(), words
    assert said(capsys, "delete", "own", "--yes", "--storage", storage)[0] == 0
    assert not (storage / "plugins" / digest).exists() and not modules()


@pytest.mark.slow
def test_an_edited_plugin_trains_anew_unless_its_version_says_otherwise(tmp_path, storage, capsys):
    spec = written(tmp_path)
    launched(capsys, spec, storage, ALLOW)

    def left(code: str) -> str:
        written(tmp_path, code)
        _, out, _ = said(capsys, "plan", spec, "--storage", storage, ALLOW)
        return next(line for line in out.splitlines() if line.startswith("left to train")) + out

    assert left(SPARSE).startswith("left to train: 0 epochs")
    assert left(SPARSE + "# other\n").startswith("left to train: 2 epochs"), "the plain arm is what it was"
    versioned = SPARSE + 'version = "1"\n'
    assert left(versioned).startswith("left to train: 2 epochs")
    launched(capsys, spec, storage)
    same = left(versioned + "# a comment\n")
    assert same.startswith("left to train: 0 epochs") and "WARNING: my_methods version 1 was" in same
    assert left(SPARSE + 'version = "2"\n').startswith("left to train: 2 epochs")


@pytest.mark.slow
def test_what_was_stopped_goes_on_elsewhere_with_the_kept_code(tmp_path, storage, capsys):
    spec = written(tmp_path)
    words = ["--local", "--yes", "--storage", storage]
    assert said(capsys, "launch", spec, *words, ALLOW, "--set", "limits.epochs=1")[0] == 3
    forget()
    shutil.rmtree(tmp_path / "my_methods")
    assert said(capsys, "export", "--sweep", "own", "--storage", storage, "-o", tmp_path / "whole.sweep")[0] == 0
    code, _, message = said(capsys, "import", tmp_path / "whole.sweep", "--storage", tmp_path / "other")
    assert code == 0, message
    shutil.rmtree(tmp_path / "home" / ".cache")  # another user, who is asked
    words[-1] = tmp_path / "other"
    assert "runs only for whom agreed" in wrong(capsys, "resume", "own", *words, "--set", "limits.epochs=9")
    code, out, message = said(capsys, "resume", "own", *words, "--set", "limits.epochs=9", ALLOW)
    assert code == 0 and "3 of 3 trials completed" in out, out + message
    assert "1 stages are stored already; 2 epochs are left" in out
    (kept,) = (tmp_path / "other" / "plugins").iterdir()
    (kept / "files" / "__init__.py").write_text(SPARSE + "# by somebody else\n")
    forget()
    assert "is damaged: its files have the digest" in wrong(capsys, "resume", "own", *words)


@pytest.mark.slow
def test_a_ticket_that_needs_a_plugin_says_which(tmp_path, storage, capsys):
    import sweeper
    from trainers import load_ticket

    launched(capsys, written(tmp_path), storage, ALLOW, "--set", "axes.method_options.density=[1]")
    code, _, message = said(capsys, "export", "own", "--storage", storage, "-o", tmp_path / "tickets")
    assert code == 0, message
    (path,) = (tmp_path / "tickets").glob("*sparse*")
    forget()
    load_ticket(path)  # its weights are all kept: what is drawn from the method's streams needs the code
    assert sweeper.use_plugin(tmp_path / "my_methods").startswith("my_methods@")


SELECTS = (
    SPARSE.replace("slot_phase: ClassVar = False", "slot_phase: ClassVar = True").partition("    def attach")[0]
    + """\
    def attach(self, layer: Any, name: str, seed: int) -> None:
        from trainers.methods.supermask.weight import attach_mask

        attach_mask(layer, name, seed, "signed_constant", rescale=False, sample_at_evaluation=False)


METHODS = {"sparse": SparseStart}
"""
)


def test_a_ticket_whose_weights_are_drawn_needs_the_plugins_code(tmp_path):
    import sweeper
    from trainers.methods.base import attach
    from trainers.methods.registry import build_method
    from trainers.networks.registry import build_network
    from trainers.tickets.tickets import load_ticket, save_ticket

    written(tmp_path, SELECTS)
    key = sweeper.use_plugin(tmp_path / "my_methods")
    fields = {"network": "lenet", "dataset": "digits", "method": "my_methods.sparse", "width": 0.1, "plugins": key}
    slots = {"slot_epochs": 1, "slot_learning_rate": 1.0, "slot_weight_decay": 0.0, "slot_schedule": "constant"}
    recipe = Recipe.complete({**fields, **slots, "finetune_epochs": 0})
    network = build_network(recipe, (1, 8, 8), 10)
    attach(network, build_method(recipe), recipe.seed)
    save_ticket(network, recipe, tmp_path / "ticket")
    forget()
    with pytest.raises(InvalidInput, match=f"it needs the code of {short(key)}, which was not imported"):
        load_ticket(tmp_path / "ticket")
    sweeper.use_plugin(tmp_path / "my_methods")
    load_ticket(tmp_path / "ticket")


BROKEN = {
    "an import": (
        SPARSE.replace("import annotations\n", "import annotations\nimport torch_of_mine\n"),
        "my_methods/__init__.py:4: ModuleNotFoundError: No module named 'torch_of_mine'",
    ),
    "itself by an absolute import": ("from my_methods.inner import x\n", "(in a plug-in: from .file import name)"),
    "its syntax": (SPARSE + "def\n", "my_methods/__init__.py:37: invalid syntax"),
    "a version that is worked out": (SPARSE + "version = str(1)\n", 'version: a short word such as "1"'),
    "a registry that is none": (SPARSE + "METHODS = [SparseStart]\n", "METHODS: a dict of what it brings by name"),
    "no registry": (SPARSE.replace("METHODS =", "OTHERS ="), "it registers nothing: give it one of METHODS"),
    "a name": (SPARSE.replace('"sparse":', '"Sparse one":'), "METHODS: 'Sparse one' is no name"),
    "a card that is none": (SPARSE + 'METHODS = {"sparse": dict}\n', "METHODS: sparse: METHODS: <class 'dict'> is no"),
    "presets that look at the recipe": (
        SPARSE.replace('return {"fine', 'given["network"]; return {"fine'), "they go by the preset alone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", sorted(BROKEN))
def test_a_plugin_that_cannot_be_imported_is_refused_with_file_and_line(tmp_path, what):
    code, message = BROKEN[what]
    with pytest.raises(InvalidInput) as refused:
        read(written(tmp_path, code))
    assert message in str(refused.value) and "plugins: plugins:" not in str(refused.value)


def test_a_method_that_breaks_a_rule_is_refused_before_anything_is_planned(tmp_path, capsys):
    own = SPARSE.replace("chance = ", "chance = torch.rand(len(connections)) if self.density < 1 else ")
    message = wrong(capsys, "plan", written(tmp_path, own), "--storage", tmp_path / "s", ALLOW)
    assert message.startswith("plugins: my_methods/__init__.py:13: SparseStart: attach gives a layer other numbers")
    assert not (tmp_path / "s").exists()
    own = SPARSE.replace("with torch", "raise LookupError(name)\n        with torch")
    written(tmp_path, own)
    message = wrong(capsys, "plan", tmp_path / "own.yaml", "--storage", tmp_path / "s", ALLOW)
    assert message == "plugins: my_methods/__init__.py:32: LookupError: one"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("density: [0.25", "density: [2", "axes.method_options.density: Input should be less than or equal to 1"),
        ("options.density", "options.densty", "axes.method_options.densty: unknown field (did you mean method_opt"),
        ("my_methods.sparse", "my_methods.spars", "method: 'my_methods.spars' is not one of my_methods.sparse (did"),
        ("my_methods.sparse", "mine.sparse", "'mine.sparse' is of a plug-in that the spec does not name"),
        ("[./my_methods]", "[./my_methods, ./x/my_methods]", "plugins: two are called my_methods"),
        ("[./my_methods]", "[https://example.org/my_methods]", "is an address; a plug-in is a folder"),
        ("[./my_methods]", "[./none]", "is no folder; `sweeper plugin new` writes"),
        ("method: my_methods.sparse", "method: supermask", "no recipe here can have 0.25 or 1"),
    ],
)
def test_a_spec_that_asks_for_what_is_not_there_is_told_what_is(tmp_path, old, new, message):
    written(tmp_path / "x")
    with pytest.raises(InvalidInput) as refused:
        read(written(tmp_path, spec=SPEC.replace(old, new)))
    assert message.replace("Input ", "") in str(refused.value)


def test_a_link_in_a_plugin_is_refused(tmp_path):
    spec = written(tmp_path)
    (tmp_path / "my_methods" / "more.py").symlink_to(spec)
    with pytest.raises(InvalidInput, match="a plug-in holds plain files"):
        read(spec)


def test_nothing_of_a_plugin_runs_before_its_user_agreed(tmp_path, capsys, monkeypatch):
    spec = written(tmp_path, SPARSE + f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
    for command in (["plan", spec], ["launch", spec, "--local"]):
        assert "runs only for whom agreed" in wrong(capsys, *command, "--storage", tmp_path / "s")
    monkeypatch.setattr("sweeper.cli.plugins.agreed.may_ask", lambda yes: True)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    code, out, message = said(capsys, "plan", spec, "--storage", tmp_path / "s")
    assert code == 2 and "was not agreed to, and nothing of it was run" in message
    assert str(tmp_path / "my_methods") in out and "  __init__.py (" in out and not (tmp_path / "ran").exists()
    monkeypatch.setattr("builtins.input", lambda question: "y")
    read_by_asking = plugin_reader(False)
    load_spec(str(spec), (), read_by_asking)
    assert (tmp_path / "ran").exists()
    monkeypatch.setattr("builtins.input", lambda question: pytest.fail("asked about the same files again"))
    forget()
    load_spec(str(spec), (), read_by_asking)


def test_an_option_has_one_form_however_it_is_written(tmp_path):
    spec = read(written(tmp_path))
    sparse, dense, learned = expand(spec)
    assert (sparse.method_options, dense.method_options) == ('{"density": 0.25}', '{"density": 1.0}')
    assert learned.plugins is None and learned.method_options is None, "what uses none is what it was"
    ways = ("recipe.method_options={density: 1}", "method_options.density=1", "axes.method_options={density: [1]}")
    for text in ways:
        assert expand(read(tmp_path / "own.yaml", text))[-2].content_hash() == dense.content_hash()
    again = spec_of(as_spec("again", [sparse]).to_yaml(), "again.yaml")
    assert [one.content_hash() for one in expand(again)] == [sparse.content_hash()]
    forget()  # with what the spec tells alone, as `status` does
    hashes = [recipe.content_hash() for recipe in expand(spec_of(spec.to_yaml(), "spec.yaml"))]
    assert hashes == [recipe.content_hash() for recipe in (sparse, dense, learned)] and not modules()


def test_two_states_of_a_plugin_are_two_arms_with_their_digests_in_the_label(tmp_path):
    one = expand(read(written(tmp_path)))[0]
    other = expand(read(written(tmp_path, SPARSE + "# edited\n")))[0]
    assert one.arm_hash() != other.arm_hash() and len(modules()) == 2
    assert arm_labels([one, other]) == [f"my_methods.sparse, {short(recipe.plugins)}" for recipe in (one, other)]


def test_a_plugin_travels_with_its_submission(tmp_path, capsys):
    spec = read(written(tmp_path))
    there, files = submitted(spec)
    write_submission(tmp_path / "job", there.to_yaml(), files)
    forget()
    shutil.rmtree(tmp_path / "my_methods")
    assert read(tmp_path / "job" / SUBMITTED) == spec


def test_a_chain_with_a_plugin_is_agreed_to_once_and_told_of_without_its_code(tmp_path, storage, capsys):
    written(tmp_path)
    (tmp_path / "next.yaml").write_text(SPEC.replace("name: own", "name: next").replace("0.25", "0.5"))
    chain = tmp_path / "both.yaml"
    chain.write_text("name: both\nsweeps: [own.yaml, next.yaml]\n")
    assert "runs only for whom agreed" in wrong(capsys, "launch", chain, "--storage", storage, "--local")
    words = ["launch", chain, "--storage", storage, "--local", "--yes", ALLOW]
    code, out, message = said(capsys, *words)
    assert code == 0 and "both: 2 of 2 sweeps are complete." in out, out + message
    assert "2 stages are stored already" in out.partition("[2/2] next")[2], "density 1 and learned weights"
    code, out, _ = said(capsys, *words)
    assert (code, out.count("; 0 epochs are left")) == (0, 2)
    forget()
    shutil.rmtree(tmp_path / "my_methods")
    code, _, message = said(capsys, "report", "own", "next", "--storage", storage, "-o", tmp_path / "report")
    assert code == 0 and not modules(), message
    report = (tmp_path / "report" / "report.md").read_text()
    assert all(f"my\\_methods.sparse, density {density}" in report for density in (0.25, 0.5, 1))


def test_options_of_a_plugin_can_be_searched(tmp_path):
    search = "search: {sampler: random, trials: 2, space: {method_options.density: {uniform: [0.1, 1.0]}}}\n"
    spec = read(written(tmp_path, spec=SPEC.replace("axes: {method_options.density: [0.25, 1]}\n", search)))
    (cell,) = searches(spec)
    assert [recipe.method_options for recipe in cell.corners()] == ['{"density": 0.1}', '{"density": 1.0}']


def test_a_plan_as_json_has_a_plugins_arms(tmp_path, capsys):
    code, out, message = said(capsys, "plan", written(tmp_path), "--storage", tmp_path / "s", ALLOW, "--json")
    assert code == 0, message
    assert json.loads(out)["arms"][1]["label"] == "my_methods.sparse, density 1"


def test_a_spec_made_in_a_program_names_folders_and_agrees_to_them(tmp_path, monkeypatch):
    import sweeper

    written(tmp_path)
    monkeypatch.chdir(tmp_path)
    recipe = {"network": "lenet", "dataset": "digits", "method": "my_methods.sparse"}
    fields = {"name": "own", "recipe": recipe, "budget_epochs": 1}
    with pytest.raises(InvalidInput, match=r"my_methods: it holds code .* which runs only for whom agreed"):
        sweeper.Spec(**fields, plugins=["./my_methods"])
    spec = sweeper.Spec(**fields, plugins=["./my_methods"], allow_plugins=True)
    assert [entry.name for entry in spec.plugins] == ["my_methods"]
    assert expand(spec)[0].method_options == '{"density": 0.5}'
    assert sweeper.Spec(**fields, plugins=[tmp_path / "my_methods"]).content_hash() == spec.content_hash()
    with pytest.raises(InvalidInput, match="is an address; a plug-in is a folder"):
        sweeper.Spec(**fields, plugins=["https://example.org/my_methods"])
