"""Spec files and bundled specs by name, and what `--set` makes of them."""

import pytest

from search_spaces.expansion import expand
from search_spaces.loading import bundled_specs, load_spec
from trainers.errors import InvalidInput


def shown(spec, *names):
    return [tuple(getattr(recipe, name) for name in names) for recipe in expand(spec)]


def write(tmp_path, text, name="mine.yaml"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


GOOD = "name: mine\nrecipe: {network: lenet, dataset: digits, method: slot_machine, slot_learning_rate: 1e-1}\n"


def test_a_spec_is_named_by_its_file(tmp_path):
    spec = load_spec(write(tmp_path, GOOD))
    assert spec.name == "mine"
    assert expand(spec)[0].slot_learning_rate == 0.1


def test_a_bundled_spec_is_named_by_its_name_alone_whatever_lies_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lenet_options").mkdir()
    assert load_spec("lenet_options").name == "lenet_options"


@pytest.mark.parametrize("name", bundled_specs())
def test_a_bundled_spec_has_the_name_of_its_file_and_says_what_it_tests(name):
    spec = load_spec(name)
    assert spec.name == name
    assert spec.description.endswith(".")
    assert "seed" in spec.description


@pytest.mark.parametrize(
    "text, message",
    [
        ("a: 1\na: 2", "mine.yaml: line 2, column 1: 'a' is given twice"),
        ("- 1", "mine.yaml: a spec is a mapping of fields such as name, recipe, axes; this is [1]"),
        ("", "mine.yaml: a spec is a mapping of fields such as name, recipe, axes; this is None"),
        ("name: x", "mine.yaml: recipe: missing, and it has no default"),
        (GOOD + "axes: {options: [two]}", "mine.yaml: axes.options: should be a valid integer"),
        (GOOD + "axes: {optons: [2]}", "mine.yaml: axes.optons: unknown field (did you mean options?)"),
        (GOOD + "options: [2, 8]", "mine.yaml: options: a field of recipes, so it goes below axes, which has lists"),
        (GOOD + "seed: 3", "mine.yaml: seed: unknown field (did you mean seeds?)"),
        (GOOD + "batch_size: 64", "mine.yaml: batch_size: a field of recipes, so it goes below recipe"),
        (GOOD + "1: 2", "mine.yaml: 1: "),
        (b"\xff\xfe", "is not UTF-8 text (byte 0)"),
        ("x" * 300_000, "mine.yaml: at most 256 KiB"),
    ],
)
def test_faults_in_a_file_begin_with_its_name(tmp_path, text, message):
    with pytest.raises(InvalidInput) as caught:
        load_spec(write(tmp_path, text))
    assert message in str(caught.value)


def test_every_line_of_many_faults_begins_with_the_file(tmp_path):
    with pytest.raises(InvalidInput) as caught:
        load_spec(write(tmp_path, GOOD + "axes: {options: [two, three]}\narms: [{batch_size: 0}]"))
    lines = str(caught.value).split("\n")
    assert len(lines) == 3
    assert all(line.startswith("mine.yaml: a") for line in lines)


@pytest.mark.parametrize(
    "name, message",
    [
        ("lenet_option", "'lenet_option' is not a bundled spec (did you mean lenet_options?)"),
        ("zzz", "a file is named by its path, such as ./zzz.yaml"),
        ("./nothing.yaml", "cannot read ./nothing.yaml: No such file or directory"),
        ("/", "cannot read /: Is a directory"),
        ("../specs", "cannot read ../specs: No such file or directory"),
        ("", "'' is not a bundled spec"),
        ("bad\0name.yaml", "cannot read"),
    ],
)
def test_a_spec_that_is_not_there_is_told_with_the_nearest_that_is(name, message):
    with pytest.raises(InvalidInput) as caught:
        load_spec(name)
    assert message in str(caught.value)


def with_set(*overrides, name="lenet_options"):
    return load_spec(name, overrides)


def test_overrides_reach_fields_of_the_spec_the_recipe_the_axes_and_the_limits():
    spec = with_set(
        "seeds=[0]", "recipe.batch_size=64", "axes.options=[2, 8]", "limits.device_hours=0.5", "slot_epochs=[5]"
    )
    assert (spec.seeds, spec.recipe["batch_size"], spec.axes["options"]) == ([0], 64, [2, 8])
    assert spec.limits.device_hours == 0.5
    assert {recipe.slot_epochs for recipe in expand(spec)} == {5, 0}


def test_a_recipe_field_alone_goes_into_the_base():
    assert {recipe.batch_size for recipe in expand(with_set("batch_size=64"))} == {64}
    assert {recipe.slot_learning_rate for recipe in expand(with_set("slot_learning_rate=1e-1"))} == {0.1, 0.01}


def test_a_single_value_replaces_an_axis_and_a_list_becomes_one():
    assert {recipe.options for recipe in expand(with_set("options=8"))} == {8, None}
    assert with_set("options=8").recipe["options"] == 8
    assert {recipe.options for recipe in expand(with_set("options=[2,8]"))} == {2, 8, None}
    assert {recipe.batch_size for recipe in expand(with_set("batch_size=[32, 64]"))} == {32, 64, 128}


def test_the_run_of_the_acceptance_is_two_arms_beside_learned_weights():
    spec = with_set("seeds=[0]", "options=[2,8]", "selection=greedy", "budget_epochs=20")
    assert shown(spec, "options", "budget_epochs", "seed") == [(2, 20, 0), (8, 20, 0), (None, 20, 0)]


def test_what_an_override_leaves_without_use_goes_and_the_spec_says_all_by_itself(tmp_path):
    text = GOOD + "budget_epochs: 9\naxes: {options: [2, 4], selection: [greedy, probabilistic]}\n"
    text += "exclude: [{options: 4, selection: probabilistic}]\nslot_epochs: [3]"
    path = write(tmp_path, text)
    narrowed = load_spec(path, ["options=2"])
    assert narrowed.exclude == []
    assert len(expand(narrowed)) == 2
    learned = load_spec(path, ["method=learned"])
    assert (learned.axes, learned.slot_epochs, len(expand(learned))) == ({}, None, 1)
    for spec in (narrowed, learned):
        again = load_spec(write(tmp_path, spec.to_yaml(), "again.yaml"))
        assert again == spec
        assert again.content_hash() == spec.content_hash()


@pytest.mark.parametrize("name", bundled_specs())
def test_a_spec_written_out_reads_back_the_same(name, tmp_path):
    spec = load_spec(name)
    again = load_spec(write(tmp_path, spec.to_yaml()))
    assert again == spec
    assert [recipe.content_hash() for recipe in expand(again)] == [recipe.content_hash() for recipe in expand(spec)]


def test_the_hash_of_a_spec_follows_what_it_says():
    assert with_set().content_hash() == with_set().content_hash()
    assert with_set("seeds=[0]").content_hash() != with_set().content_hash()


@pytest.mark.parametrize(
    "override, message",
    [
        ("seeds", "--set seeds: write it as field=value"),
        ("=3", "--set =3: write it as field=value"),
        ("optons=3", "--set optons=3: optons is no field of a spec or a recipe (did you mean options?)"),
        ("seed=3", "the seeds of a sweep are set by seeds"),
        ("recipe.optons=3", "--set recipe.optons=3: recipe has no field optons (did you mean options?)"),
        ("axes.optons=[3]", "axes has no field optons (did you mean options?)"),
        ("limits.epoch=3", "limits has no field epoch (did you mean epochs?)"),
        ("recip.options=3", "recip is not one of recipe, axes, limits, rungs, search (did you mean recipe?)"),
        ("seeds=[0", "--set seeds=[0: line 1"),
        ("options=two", "lenet_options.yaml: axes.options: should be a valid integer"),
        ("keep_fraction=0.5", "lenet_options.yaml: recipe.keep_fraction: no recipe here can have 0.5"),
        ("recipe=3", "lenet_options.yaml: recipe: should be a valid dictionary"),
        ("exclude=[{options: 3}]", "exclude[0]: {'options': 3} matches no cell"),
    ],
)
def test_an_override_that_cannot_be_is_told(override, message):
    with pytest.raises(InvalidInput) as caught:
        with_set(override)
    assert message in str(caught.value)
