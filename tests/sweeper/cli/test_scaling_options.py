"""--scale-to and --wait-for-nodes: what they take, and where they make no sense."""

import click
import pytest

from sweeper.cli import values
from sweeper.cli.main import main


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15m", 900.0), ("90", 90.0), ("90s", 90.0), ("0.5h", 1800.0), ("0", 0.0), ("168h", 604_800.0)],
)
def test_a_time_is_a_number_of_seconds_or_has_its_unit(text, seconds):
    assert values.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "15 min", "-1m", "nan", "169h", "1d"])
def test_what_is_no_time_is_refused_with_an_example_or_the_range(text):
    with pytest.raises(click.BadParameter, match=r"must be (a time such as 90s, 15m or 2h|from 0 to a week)"):
        values.duration(text)


@pytest.mark.parametrize(("flag", "value"), [("--scale-to", "2"), ("--wait-for-nodes", "15m")])
def test_a_machine_by_itself_is_told_that_it_does_not_grow(flag, value, tiny, storage, capsys, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert main(["launch", str(tiny), "--storage", str(storage), flag, value]) == 2
    said = f"{flag}: this machine alone does not grow; --ray-address or --cluster names a cluster"
    assert said in capsys.readouterr().err
    assert not (storage / "sweeps").exists()
