"""Chains of sweeps, and other budgets by `--set`: what each sweep becomes, and what is refused."""

from pathlib import Path

import pytest

import search_spaces
from search_spaces.chains import load_chain, read_chain
from search_spaces.expansion import expand
from search_spaces.loading import bundled_chains, bundled_specs, load_spec
from trainers.errors import InvalidInput

SPECS = Path(search_spaces.__file__).parent / "specs"
SPLITS = """\
name: splits
recipe: {network: lenet, dataset: mnist, method: slot_machine, options: 8}
budget_epochs: 200
slot_epochs: [20, 100, 200]
"""
CHAIN = "name: two\nsweeps: [weight_options, splits.yaml]\nset: [network=lenet, dataset=mnist]\n"


@pytest.fixture
def chain(tmp_path):
    """A chain in a file, of a bundled sweep and one beside it."""
    (tmp_path / "splits.yaml").write_text(SPLITS)
    path = tmp_path / "two.yaml"
    path.write_text(CHAIN)
    return path


def budgets(recipes):
    return sorted({(recipe.slot_epochs, recipe.finetune_epochs) for recipe in recipes})


@pytest.mark.parametrize("name", bundled_chains())
def test_a_bundled_chain_has_the_name_of_its_file_and_names_bundled_specs(name):
    linked = load_chain(name)
    assert (linked.chain.name, linked.notes) == (name, [])
    assert linked.chain.description.endswith(".")
    assert [spec.name for spec in linked.specs] == linked.chain.sweeps
    assert set(linked.chain.sweeps) <= set(bundled_specs())


def test_reproduce_all_has_all_of_reproduce_mnist():
    assert set(load_chain("reproduce_mnist").chain.sweeps) < set(load_chain("reproduce_all").chain.sweeps)


def test_the_sweeps_of_reproduce_mnist_are_on_lenet_and_mnist_only():
    recipes = [recipe for spec in load_chain("reproduce_mnist").specs for recipe in expand(spec)]
    assert {(recipe.network, recipe.dataset) for recipe in recipes} == {("lenet", "mnist")}


def test_seeds_and_budgets_reach_every_sweep_of_a_chain():
    linked = load_chain("reproduce_mnist", ["seeds=[0]", "budget_epochs=3"])
    assert linked.notes == []
    for spec in linked.specs:
        recipes = expand(spec)
        assert {recipe.seed for recipe in recipes} == {0}
        assert {recipe.budget_epochs for recipe in recipes} == (
            {1, 3} if spec.name == "options_against_random" else {3}
        )
    splits = next(spec for spec in linked.specs if spec.name == "finetune_splits")
    assert budgets(expand(splits)) == [(0, 3), (1, 2), (2, 1), (3, 0)]


GRIDS = [name for name in bundled_specs() if "\nsearch:" not in (SPECS / f"{name}.yaml").read_text()]


@pytest.mark.parametrize("name", GRIDS)
def test_every_bundled_grid_can_have_a_short_budget(name):
    recipes = expand(load_spec(name, ["budget_epochs=3"]))
    assert max(recipe.budget_epochs for recipe in recipes) == 3


def test_an_override_goes_to_the_sweeps_that_can_have_it_and_the_others_are_named(chain):
    linked = load_chain(str(chain), ["slot_epochs=[50, 150]", "batch_size=64"])
    first, second = linked.specs
    assert budgets(expand(second)) == [(50, 150), (150, 50)]
    assert {recipe.batch_size for spec in linked.specs for recipe in expand(spec)} == {64}
    assert {recipe.slot_epochs for recipe in expand(first)} >= {50, 150}


def test_an_override_that_no_sweep_can_have_is_refused(chain):
    with pytest.raises(InvalidInput, match="keep_fraction: no recipe here can have"):
        load_chain(str(chain), ["keep_fraction=0.5"])
    with pytest.raises(InvalidInput, match="batch_siz is no field"):
        load_chain(str(chain), ["batch_siz=1"])


def test_some_sweeps_may_go_without_an_override():
    linked = load_chain("reproduce_mnist", ["keep_fraction=0.3"])
    assert len(linked.notes) == 6
    assert linked.notes[0].startswith("weight_options goes without --set keep_fraction=0.3 (")
    kept = {recipe.keep_fraction for spec in linked.specs for recipe in expand(spec)}
    assert kept == {None, 0.3}


def test_paths_are_from_the_chain_and_a_spec_is_no_chain(chain, monkeypatch, tmp_path):
    monkeypatch.chdir("/")
    assert [spec.name for spec in load_chain(str(chain)).specs] == ["weight_options", "splits"]
    assert read_chain(str(chain)).sweep_names() == ["weight_options", "splits"]
    assert load_chain(str(tmp_path / "splits.yaml")) is None
    assert load_chain("weight_options") is None
    assert load_chain("digits_quickstart", ["no such override"]) is None  # `load_spec` says so


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nsweeps: []\n", "x.yaml: sweeps: List should have at least 1 item"),
        ("name: x\nsweeps: [weight_option]\n", "'weight_option' is not a bundled spec (did you mean weight_options?)"),
        ("name: x\nsweeps: [weight_options, weight_options]\n", "x: sweeps: weight_options is there more than once"),
        ("name: x\nsweeps: [weight_options]\nsweep: 1\n", "x.yaml: sweep: unknown field (did you mean sweeps?)"),
        ("sweeps: [weight_options]\n", "x.yaml: name: missing"),
        ("name: x\nsweeps: [weight_options]\nset: [network=lenett]\n", "'lenett' is not one of"),
        ("name: x\nsweeps: [no.yaml]\n", "cannot read"),
    ],
)
def test_a_faulty_chain_is_refused_with_its_fault(text, message, tmp_path):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(InvalidInput) as caught:
        load_chain(str(tmp_path / "x.yaml"))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "overrides", "expected"),
    [
        ("", ["budget_epochs=20"], [(2, 18), (10, 10), (20, 0)]),
        ("", ["budget_epochs=3"], [(1, 2), (2, 1), (3, 0)]),
        ("", ["budget_epochs=1"], [(1, 0)]),
        ("", ["budget_epochs=400"], [(40, 360), (200, 200), (400, 0)]),
        ("", ["slot_epochs=[7]", "budget_epochs=20"], [(7, 13)]),
        ("", ["budget_epochs=20", "slot_epochs=[7]"], [(7, 13)]),
        ("arms: [{method: learned}, {slot_epochs: [0, 50]}]\n", ["budget_epochs=4"],
         [(0, 4), (1, 3), (2, 2), (4, 0)]),
        ("arms: [{budget_epochs: 400, slot_epochs: 300}]\nbudgets_differ: true\n", ["budget_epochs=8"],
         [(1, 3), (2, 2), (4, 0), (6, 2)]),
    ],
)  # fmt: skip
def test_with_another_budget_the_splits_keep_their_shares_of_it(changes, overrides, expected, tmp_path):
    (tmp_path / "splits.yaml").write_text(SPLITS + changes)
    assert budgets(expand(load_spec(str(tmp_path / "splits.yaml"), overrides))) == expected


def test_a_budget_that_is_none_is_refused_as_ever(tmp_path):
    (tmp_path / "splits.yaml").write_text(SPLITS)
    for value, message in (("0", "greater than or equal to 1, not 0"), ("many", "valid integer, not 'many'")):
        with pytest.raises(InvalidInput, match=message):
            load_spec(str(tmp_path / "splits.yaml"), [f"budget_epochs={value}"])


def test_a_chain_is_no_spec_and_says_so():
    with pytest.raises(InvalidInput, match=r"reproduce_mnist\.yaml: it is a chain of sweeps"):
        load_spec("reproduce_mnist")
