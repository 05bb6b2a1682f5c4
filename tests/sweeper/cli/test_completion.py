"""Completion as real shells do it: what is typed before the Tab key, and what stands there after it."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from sweeper.cli.completion import SHELLS
from sweeper.cli.main import cli
from tests.sweeper.cli.answers import said
from tests.sweeper.processes import environment
from tests.sweeper.small_sweeps import TINY, trained_storage
from tests.waiting import wait_until

EARLIER = Path(__file__).parent / "earlier_completion"
START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "--interactive"],
}
# As the README has it. Files are loaded by the shell itself where people have them.
SETUP = {
    "bash": 'eval "$(sweeper completion bash)"',
    "zsh": 'autoload -Uz compinit && compinit -u -D; eval "$(sweeper completion zsh)"',
    "fish": "sweeper completion fish | source",
}
START_OF_LINE, END_OF_LINE = "\x01", "\x05"


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory) -> Path:
    """A folder with a spec, a folder of specs, a storage in which tiny was launched, and the command."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "mine.yaml").write_text(TINY)
    (folder / "mine.txt").write_text("")
    (folder / "specs").mkdir()
    (folder / "specs" / "other.yml").write_text(TINY)
    trained_storage(trained, folder)
    (folder / "bin").mkdir()
    (folder / "bin" / "sweeper").write_text(f'#!/bin/sh\nexec {sys.executable} -m sweeper "$@"\n')
    (folder / "bin" / "sweeper").chmod(0o755)
    return folder


def surroundings(folder: Path) -> dict[str, str]:
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**environment(), "PATH": path, "TERM": "xterm", "HOME": str(folder), "SWEEPER_STORAGE": "trained"}


class Shell:
    """An interactive shell at a terminal of its own."""

    def __init__(self, folder: Path, terminal: int) -> None:
        self.folder, self.terminal = folder, terminal

    def run(self, line: str) -> None:
        """Runs a line, and waits for its end."""
        done = self._file()
        os.write(self.terminal, f"{line}; touch {done}\r".encode())
        wait_until(done.exists)

    def completed(self, line: str) -> str:
        """What the line has become after the Tab key: it is made the arguments of a command that writes them down."""
        out = self._file()
        keys = f"{line}\t{START_OF_LINE}printf '%s|' {END_OF_LINE} > {out}; touch {out}.done\r"
        os.write(self.terminal, keys.encode())
        wait_until(Path(f"{out}.done").exists)
        return out.read_text().rstrip("|/").replace("|", " ")  # zsh takes a slash back when a word ends

    def _file(self) -> Path:
        return self.folder / f"said-{uuid.uuid4().hex}"


@contextmanager
def interactive(shell: str, folder: Path) -> Iterator[Shell]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        START[shell], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=surroundings(folder),
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        yield Shell(folder, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def needs(shell: str) -> object:
    return pytest.param(shell, marks=pytest.mark.skipif(shutil.which(shell) is None, reason=f"needs {shell}"))


LINES = {
    "sweeper lau": "sweeper launch",
    "sweeper launch digits_q": "sweeper launch digits_quickstart",
    "sweeper launch min": "sweeper launch mine.yaml",
    "sweeper launch spe": "sweeper launch specs",
    "sweeper plan specs/o": "sweeper plan specs/other.yml",
    "sweeper launch x --max-p": "sweeper launch x --max-parallel",
    "sweeper runs ti": "sweeper runs tiny",
    "sweeper runs tiny --status comp": "sweeper runs tiny --status COMPLETED",
    "sweeper export tiny -o spe": "sweeper export tiny -o specs",
    "sweeper runs --storage nowhere ti": "sweeper runs --storage nowhere ti",
    "sweeper completion fi": "sweeper completion fish",
}


@pytest.mark.parametrize("shell", [needs("bash"), needs("zsh")])
def test_the_tab_key_completes_commands_flags_specs_files_and_sweeps(shell, folder):
    with interactive(shell, folder) as opened:
        opened.run(SETUP[shell])
        assert {line: opened.completed(line) for line in LINES} == LINES


@pytest.mark.parametrize("shell", [needs("fish")])
def test_fish_offers_commands_flags_specs_files_and_sweeps(shell, folder):
    several = {"sweeper re": {"recipe", "rename", "resume", "retry", "report"}}
    for line, completed in LINES.items():
        several[line] = {completed.rpartition(" ")[2]} if completed != line else set()
    assert offered_by_fish(SETUP["fish"], several, folder) == several


def offered_by_fish(setup: str, lines: Iterable[str], folder: Path) -> dict[str, set[str]]:
    asked = [f'echo "at {line}"; complete -C "{line}"' for line in lines]
    done = subprocess.run(
        ["fish", "--no-config", "-c", "; ".join([setup, *asked])],
        capture_output=True, text=True, cwd=folder, env=surroundings(folder), check=True,
    )  # fmt: skip
    answers = [answer.splitlines() for answer in re.split("^at ", done.stdout, flags=re.MULTILINE)[1:]]
    return {line: {offer.partition("\t")[0].rstrip("/") for offer in offers} for line, *offers in answers}


# A script that an earlier version wrote to a file asks in another way, and offers no files.
EARLIER_LINES = {line: completed for line, completed in LINES.items() if not completed.endswith("specs")}


@pytest.mark.parametrize("shell", [needs("bash")])
def test_a_bash_completion_file_of_an_earlier_version_goes_on_working(shell, folder):
    with interactive(shell, folder) as opened:
        opened.run(f"source {EARLIER}/sweeper.bash")
        assert {line: opened.completed(line) for line in EARLIER_LINES} == EARLIER_LINES


@pytest.mark.parametrize("shell", [needs("fish")])
def test_a_fish_completion_file_of_an_earlier_version_goes_on_working(shell, folder):
    lines = {"sweeper re": {"recipe", "rename", "resume", "retry", "report"}, "sweeper runs t": {"tiny"}}
    assert offered_by_fish(f"source {EARLIER}/sweeper.fish", lines, folder) == lines


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_a_script_that_names_the_command(capsys, shell):
    code, out, _ = said(capsys, "completion", shell)
    assert code == 0
    assert "sweeper" in out


def test_every_sweep_and_spec_argument_is_completed(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SWEEPER_STORAGE", "trained")
    offers = {"SWEEP": "tiny", "SPEC": "digits_quickstart", "A": "tiny", "B": "tiny"}
    group = click.Context(cli)
    for name in cli.list_commands(group):
        command = cli.get_command(group, name)
        context = command.make_context(name, [], resilient_parsing=True)
        for parameter in command.params:
            wanted = offers.get((parameter.metavar or "").strip("[]."))
            if wanted and "storage" in context.params:  # what lies on a cluster only the cluster knows
                assert wanted in [item.value for item in parameter.shell_complete(context, wanted[:2])], name
