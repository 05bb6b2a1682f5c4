"""`sweeper recipe`: what it prints is a spec, and the same recipe."""

from pathlib import Path

import pytest

from search_spaces.expansion import as_spec, expand, searches
from search_spaces.loading import bundled_specs, load_spec, spec_of
from sweeper.cli.main import main
from sweeper.launch.view import SweepView
from sweeper.records.sweep_folder import SweepFolder
from tests.sweeper.small_sweeps import trained_storage


@pytest.mark.parametrize("name", bundled_specs())
def test_every_recipe_of_a_bundled_spec_is_stated_as_itself(name):
    spec = load_spec(name)
    recipes = {recipe.arm_hash(): recipe for recipe in expand(spec)}
    recipes |= {recipe.arm_hash(): recipe for search in searches(spec) for recipe in search.corners()}
    for recipe in recipes.values():
        text = as_spec("again", [recipe]).to_yaml()
        assert [again.content_hash() for again in expand(spec_of(text, "again.yaml"))] == [recipe.content_hash()], text


def test_a_rate_that_labels_round_is_stated_to_its_last_digit():
    spec = load_spec("digits_quickstart", ["axes.slot_learning_rate=[0.12345678901234567]", "seeds=[7, 3]"])
    trials = [recipe for recipe in expand(spec) if recipe.arm_hash() == expand(spec)[0].arm_hash()]
    again = expand(spec_of(as_spec("again", trials).to_yaml(), "again.yaml"))
    assert again[0].slot_learning_rate == 0.12345678901234567
    assert {recipe.content_hash() for recipe in again} == {recipe.content_hash() for recipe in trials}


@pytest.fixture
def storage(trained: tuple[Path, Path], tmp_path: Path) -> Path:
    return trained_storage(trained, tmp_path)


def printed(capsys: pytest.CaptureFixture[str], storage: Path, *words: str) -> str:
    assert main(["recipe", "tiny", *words, "--storage", str(storage)]) == 0
    return capsys.readouterr().out


@pytest.mark.slow
def test_a_plan_of_what_it_prints_says_that_it_is_stored_already(storage, tmp_path, capsys):
    results = SweepView(SweepFolder(storage, "tiny")).results
    for which in (results[0].name, results[0].label, results[-1].label):
        path = tmp_path / "again.yaml"
        path.write_text(printed(capsys, storage, which))
        wanted = {result.trial.recipe.content_hash() for result in results if which in (result.name, result.label)}
        assert {recipe.content_hash() for recipe in expand(load_spec(str(path)))} == wanted
        assert main(["plan", str(path), "--storage", str(storage)]) == 0
        plan = capsys.readouterr().out
        assert f", {len(wanted)} trials\nleft to train: 0 epochs" in plan


@pytest.mark.slow
def test_the_best_arm_is_that_of_the_best_mean_among_those_named(storage, capsys):
    results = SweepView(SweepFolder(storage, "tiny")).results
    means: dict[str, list[float]] = {}
    for result in results:
        means.setdefault(result.label, []).append(result.validation_accuracy)
    ordered = sorted(means, key=lambda label: sum(means[label]) / len(means[label]))
    assert f"description: {ordered[-1]} of tiny, the best" in printed(capsys, storage, "--best").replace("'", "")
    some = [label for label in ordered if "GS" in label]
    assert len(some) > 1 and some[-1] in printed(capsys, storage, "gs", "--best")


@pytest.mark.slow
def test_a_name_of_several_arms_or_of_none_is_refused_with_those_there_are(storage, capsys):
    assert main(["recipe", "tiny", "GS", "--storage", str(storage)]) == 2
    assert "recipe: 'GS' is in the names of 2 arms; name one, or say --best; there are " in capsys.readouterr().err
    assert main(["recipe", "tiny", "--storage", str(storage)]) == 2
    assert "recipe: tiny has 5 arms; name one, or say --best" in capsys.readouterr().err
    assert main(["recipe", "tiny", "K=99", "--storage", str(storage)]) == 2
    assert "arm: 'K=99' is in no arm's name" in capsys.readouterr().err
