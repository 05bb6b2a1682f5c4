"""The command line as a user meets it: what it says, and with which exit code."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sweeper.cli.main import COMMANDS
from sweeper.launch import sweep
from sweeper.stages.planting import plant
from tests.sweeper.cli.answers import said, wrong
from tests.sweeper.processes import environment, start_sweeper
from tests.sweeper.small_sweeps import table_of, trained_storage
from tests.waiting import ending_of, wait_until


def test_it_says_which_version_it_is(capsys):
    code, out, _ = said(capsys, "--version")
    assert code == 0
    assert re.fullmatch(r"sweeper \d+\.\d+\.\d+ \(commit ([0-9a-f]{40}\+?|unknown)\)\n", out)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(capsys, name):
    code, out, _ = said(capsys, name, "--help")
    assert code == 0
    assert out.splitlines()[-1].startswith(f"example: sweeper {name} ")
    assert COMMANDS[name][1].casefold() in " ".join(out.split()).casefold()


def test_the_help_lists_every_command_with_what_it_does(capsys):
    code, out, _ = said(capsys, "--help")
    assert code == 0
    assert said(capsys, "-h")[1] == out
    for name, (_, what) in COMMANDS.items():
        assert f" {name} {what} " in " ".join(out.split()) + " "
    assert out.splitlines()[-1].startswith("example: sweeper launch ")


LONG = {"numpy", "torch", "ray", "mlflow", "rich", "pandas", "scipy"}
MUCH = {"launch", "resume", "retry", "plan"}  # commands that take most of the project
HELP = """
import sys
from sweeper.cli.main import COMMANDS, main
def helps(name, unwanted):
    main([*name.split(), "--help"])
    found = unwanted & set(sys.modules)
    assert not found, (name, found)
helps("", {{"pydantic", "yaml", "sweeper.cli.options"}} | {long})
for name in sorted(COMMANDS, key=lambda name: name in {much}):
    helps(name, {long} if name in {much} else {long} | {{"pydantic", "yaml"}})
"""


def test_help_imports_none_of_what_takes_long():
    subprocess.run([sys.executable, "-c", HELP.format(long=LONG, much=MUCH)],
                   check=True, env=environment(), stdout=subprocess.DEVNULL)  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND\n(see sweeper --help)"),
        (["lanch"], "COMMAND: 'lanch' is not one of plan, launch, stop, resume,"),
        (["lanch"], "(did you mean launch?)\n(see sweeper --help)"),
        (["export"], "the following arguments are required: -o/--out\n(see sweeper export --help)"),
        (["compare"], "the following arguments are required: A\n"),
        (["report", "-o", "r"], "the following arguments are required: SWEEP\n"),
        (["compare", "a", "b", "c"], "unrecognized arguments: c\n(see sweeper compare --help)"),
        (["runs", "tiny", "--arm", "--json"], "--arm: expected one argument\n"),
        (["report", "tiny", "-o"], "-o/--out: expected one argument\n"),
        (["gc", "--delete=1"], "--delete: ignored explicit argument '1'\n(see sweeper gc --help)"),
        (["launch", "--no-locl", "tiny.yaml"], "unrecognized arguments: --no-locl (did you mean --no-local?)"),
        (["launch", "tiny.yaml", "--cpus-per-trail", "2"], "(did you mean --cpus-per-trial?)"),
        (["launch", "tiny.yaml", "--max-parallel", "0"], "--max-parallel: must be a whole number from 1, not '0'"),
        (["launch", "tiny.yaml", "--cpus-per-trial", "1.5"], "above 1 it must be a whole number, not 1.5"),
        (["launch", "tiny.yaml", "--gpus-per-trial", "-1"], "--gpus-per-trial: must be a number from 0, not -1"),
        (["plan", "tiny.yaml", "--max-parallel", "x"], "--max-parallel: must be a whole number from 1, not 'x'"),
        (["gc", "--older-than", "-1"], "--older-than: must be a number of days from 0, not -1"),
        (["runs", "tiny", "--status", "complete"], "'complete' is not one of PENDING, "),
        (["runs", "tiny", "--sort", "acuracy"], "--sort: 'acuracy' is not one of arm, seed,"),
        (["completion", "tcsh"], "SHELL: 'tcsh' is not one of bash, zsh, fish"),
        (["schema", "-o", "/dev/null/x"], "out: cannot write /dev/null/x"),
        (["ui", "--port", "99999"], "--port: must be a port from 1 to 65535, not '99999'"),
        (["launch", "digits_quickstrat"], "(did you mean digits_quickstart?)"),
        (
            ["launch", "tiny.yaml", "--set", "optoins=3"],
            "optoins is no field of a spec or a recipe (did you mean options?)",
        ),
        (["launch", "tiny.yaml", "--set", "options=two"], "should be a valid integer, not 'two'"),
        (["launch", "tiny.yaml", "--set", "slot_epochs=[9]"], "a part of the budget is from 0 to 3 epochs, not 9"),
        (["launch", "nowhere.yaml"], "cannot read nowhere.yaml: No such file or directory"),
        (["launch", "tiny.yaml", "--storage", "/dev/null/x"], "storage: cannot write to /dev/null/x"),
        (["launch", "tiny.yaml", "--tracking", "htp://localhost:5000"], "(did you mean http?)"),
        (["launch", "tiny.yaml", "--tracking", "mlruns"], "'mlruns' is not an address such as sqlite:///FILE"),
        (["launch", "tiny.yaml", "--tracking", "sqlite:///tiny.yaml"], "tiny.yaml is not an SQLite database"),
        (["launch", "tiny.yaml", "--cpus-per-trial", "4096"], "--cpus-per-trial: 4096 is more than the"),
        (["launch", "tiny.yaml", "--local", "--gpus-per-trial", "4096"], "--gpus-per-trial: 4096 is more than the"),
        (["launch", "lenet_options", "--no-download", "--data-dir", "."], "lacks MNIST/raw/train-images"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_told_before_anything_starts(capsys, tiny, monkeypatch, arguments, message):
    monkeypatch.chdir(tiny.parent)
    assert message in wrong(capsys, *arguments)
    assert not list(tiny.parent.glob("*/sweeps/*"))


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["runs"],
        ["track"],
        ["stop"],
        ["resume"],
        ["retry"],
        ["export", "-o", "r"],
        ["ui"],
        ["report", "-o", "r"],
    ],
)
def test_an_unknown_sweep_is_told_with_the_nearest_one(capsys, trained, storage, command):
    folder = storage / "sweeps" / "tiny"
    folder.mkdir(parents=True)
    fields = {"name": "tiny", "spec_hash": "", "tracking": f"sqlite:///{storage}/mlflow.db", "digests": {}}
    (folder / "sweep.json").write_text(json.dumps(fields))
    message = wrong(capsys, *command, "tinny", "--storage", storage)
    assert "'tinny' is not" in message
    assert "did you mean tiny?" in message or command[0] == "report"  # which looks into MLflow, where nothing is yet


def test_a_server_that_does_not_answer_is_told_with_the_way_around_it(capsys, tiny, storage):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"http://user:secret@127.0.0.1:{taken.getsockname()[1]}"
        message = wrong(capsys, "launch", tiny, "--storage", storage, "--tracking", address)
    assert "no MLflow server answers at http://user:***@127.0.0.1" in message
    assert "--tracking-optional" in message
    assert "secret" not in message


def test_a_server_that_is_not_mlflow_is_told(capsys, tiny, storage):
    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        message = wrong(capsys, "launch", tiny, "--storage", storage, "--tracking", address)
    finally:
        server.shutdown()
        server.server_close()
    assert "answers, but not as MLflow does (/health gave 404)" in message


def test_a_local_launch_from_start_to_end(capsys, tiny, storage):
    code, out, message = said(capsys, "launch", tiny, "--storage", storage, "--local")
    assert (code, message) == (0, ""), out
    assert out.startswith("tiny: 10 trials in 5 arms, 18 stages, 26 epochs (30 if every trial ran alone)\n")
    assert len([line for line in out.splitlines() if line.count("%") == 2 and line.endswith(" 2")]) == 5
    assert "10 of 10 trials completed; 26 epochs trained" in out
    assert f"sweeper ui tiny --storage {storage}" in out
    assert f"sweeper report tiny --storage {storage} -o report" in out
    assert said(capsys, "status", "tiny", "--storage", storage)[1].startswith("tiny: completed\n")
    (listed,) = json.loads(said(capsys, "status", "--storage", storage, "--json")[1])
    assert (listed["sweep"], listed["completed"], listed["epochs_left"]) == ("tiny", 10, 0)
    runs = json.loads(said(capsys, "runs", "tiny", "--storage", storage, "--json")[1])
    assert {(run["status"], run["epochs_done"]) for run in runs} == {("COMPLETED", 3)}
    code, out, _ = said(capsys, "launch", tiny, "--storage", storage, "--local")
    assert code == 0
    assert "18 stages are stored already; 0 epochs are left" in out


def test_a_ray_that_does_not_start_breaks_the_launch_off_in_a_line(capsys, tiny, storage, monkeypatch):
    import ray

    def too_busy(*arguments, **settings):
        raise Exception("The current node timed out during startup.")  # the class that Ray raises

    monkeypatch.setattr(ray, "init", too_busy)
    monkeypatch.setattr("sweeper.launch.ray_session.quiet", lambda address: None)
    code, out, message = said(capsys, "launch", tiny, "--storage", storage)
    assert (code, message) == (1, "")
    assert "Broken off: Ray did not start on this machine (The current node timed out during startup.)" in out
    assert f"to go on: sweeper resume tiny --storage {storage}" in out


def test_a_launch_with_a_failing_arm_exits_with_1_and_retry_runs_just_that(capsys, tmp_path, storage, monkeypatch):
    spec = tmp_path / "half.yaml"
    spec.write_text(
        "name: half\n"
        "recipe: {network: lenet, dataset: digits, method: learned, width: 0.2}\n"
        "budget_epochs: 1\narms: [{finetune_learning_rate: 1.0e+30}, {finetune_learning_rate: 0.01}]\n"
    )
    code, out, _ = said(capsys, "launch", spec, "--storage", storage, "--local")
    assert code == 1, out
    assert "1 of 2 trials completed, 1 failed" in out
    assert "FAILED  not a number: " in out
    assert f"sweeper retry half --storage {storage}" in out
    code, out, _ = said(capsys, "launch", spec, "--storage", storage, "--local")
    assert code == 1  # of itself it does not try again
    assert "0 epochs are left" in out
    out = said(capsys, "status", "half", "--storage", storage)[1]
    assert out.startswith("half: failed\n")
    assert "FAILED  not a number: " in out
    planted: list[object] = []
    monkeypatch.setattr(sweep, "plant", lambda *given: planted.append(plant(*given)) or planted[-1])
    code, out, _ = said(capsys, "retry", "half", "--storage", storage, "--local")
    assert (code, len(planted)) == (1, 1)
    assert out.startswith("1 failed stages are tried again.\n")
    assert "1 stages are stored already; 1 epochs are left" in out


@pytest.mark.cluster
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on_and_nobody_else_may_launch_meanwhile(
    capsys, tiny, storage, tmp_path, trained
):
    arguments = ["launch", tiny, "--storage", storage, "--local"]
    process = start_sweeper(*arguments, "--set", "seeds=100", out=tmp_path / "out")
    try:
        wait_until(lambda: any((storage / "stages").glob("*/*/*/record.json")), process)
        message = wrong(capsys, *arguments)
        assert f"'tiny' is being run already (process {process.pid} on " in message
        assert "that launch tracks it" in wrong(capsys, "track", "tiny", "--storage", storage)
        (listed,) = json.loads(said(capsys, "status", "--storage", storage, "--json")[1])
        assert listed["state"] == "running"
    finally:
        process.send_signal(signal.SIGINT)
        code = ending_of(process)
    text = (tmp_path / "out").read_text()
    assert code == 130, text
    assert "stopping after the running epochs (once more: at once)" in text
    assert f"to go on: sweeper resume tiny --storage {storage}\n" in text
    assert said(capsys, "status", "tiny", "--storage", storage)[1].startswith("tiny: stopped\n")
    assert said(capsys, *arguments)[0] == 0
    assert table_of(storage) == table_of(trained_storage(trained, tmp_path))


def test_what_an_outage_kept_away_is_tracked_later(capsys, tiny, storage):
    code, out, _ = said(
        capsys, "launch", tiny, "--storage", storage, "--local", "--set", "seeds=1", "--tracking-optional",
        "--tracking", "http://127.0.0.1:9",
    )  # fmt: skip
    assert code == 0, out
    assert "warning: tracking: no MLflow server answers" in out
    assert "MLflow does not show 5 trials as they are: " in out
    assert f"sweeper track tiny --storage {storage}" in out
    address = f"sqlite:///{storage}/mlflow.db"
    code, out, _ = said(capsys, "track", "tiny", "--storage", storage, "--tracking", address)
    assert (code, out) == (0, "MLflow shows all 5 trials of tiny as they are.\n")


def test_of_a_sweep_that_is_not_whole_track_says_how_much_is(capsys, tiny, storage):
    limit = ["--set", "seeds=1", "--set", "limits={trials: 2}"]
    assert said(capsys, "launch", tiny, "--storage", storage, "--local", *limit)[0] == 3
    code, out, _ = said(capsys, "track", "tiny", "--storage", storage)
    assert (code, out) == (0, "MLflow shows all 5 trials of tiny as they are, 2 of them completed.\n")
