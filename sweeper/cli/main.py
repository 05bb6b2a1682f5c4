"""The command line. A command's file is imported when it runs, or when its help is shown, so that --help is quick."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import click
from click.shell_completion import CompletionItem

from sweeper.cli.command import ExitCode, Group, fault
from trainers.errors import InvalidInput

# A command: the file in `sweeper/cli/commands/`, and what it does. In the order of --help.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "plan": ("plan", "show what a launch would train, what is stored already, and what it will take"),
    "launch": ("launch", "train what is not stored yet; launching again goes on"),
    "stop": ("stop", "stop a launch that runs, here or on another machine: it finishes its epochs and saves"),
    "resume": ("launch", "go on with a sweep as it was launched last"),
    "retry": ("launch", "launch again what failed, as it was launched last"),
    "status": ("status", "show how far sweeps are"),
    "logs": ("cluster", "show what a sweep on a cluster says, until it ends"),
    "runs": ("status", "list the trials of a sweep"),
    "compare": (
        "compare", "set two sweeps, or arms (SWEEP:ARM), side by side, with the differences of their means"
    ),
    "recipe": ("recipe", "print the recipe of an arm, a trial or the best arm, as a spec that is the same one again"),
    "track": ("mlflow", "bring MLflow up to date with what is stored, after an outage"),
    "ui": ("mlflow", "open MLflow's UI on what the sweeps wrote, for this machine only"),
    "report": ("report", "write report.html, report.md, table.csv and figures"),
    "import": (
        "import_", "bring in a whole sweep, as `sweeper export --sweep` wrote it, or JSON records of trials"
    ),
    "export": ("export", "write trained networks as tickets, one a trial; or a whole sweep as one file"),
    "history": ("sweeps.history", "list the versions of a sweep, and what each changed"),
    "rename": ("sweeps.rename", "give a sweep another name, in the storage and in MLflow"),
    "delete": ("sweeps.delete", "say what of a sweep no other one refers to, and remove both after a yes"),
    "gc": (
        "gc", "list what is stored and no sweep refers to (a sweep whose folder is gone, say); remove it if told"
    ),
    "data": ("data", "download data sets, and see that every file is the published one"),
    "schema": ("editors", "write the JSON Schema of a spec, by which editors complete and check it"),
    "completion": ("editors", "print what makes a shell complete sweeper's commands, specs and sweeps"),
}  # fmt: skip


class Commands(Group):
    """The commands of the list, of which only the one that is asked for is imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        file, what = COMMANDS[cmd_name]
        module = import_module(f"sweeper.cli.commands.{file}")
        (command,) = (one for one in vars(module).values() if isinstance(one, click.Command) and one.name == cmd_name)
        command.help, command.short_help = f"{what[0].upper()}{what[1:]}.", what
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, what) for name, (_, what) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        names = [CompletionItem(name, help=what) for name, (_, what) in COMMANDS.items() if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]


def _say_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    """Asks git, which takes a moment, only when it is wanted."""
    if not wanted or context.resilient_parsing:
        return
    from sweeper.records.environment import sources

    known = sources()
    click.echo(f"sweeper {known['version']} (commit {known['git_commit']})")
    context.exit()


@click.group(
    "sweeper", cls=Commands, subcommand_metavar="COMMAND ...",
    epilog="example: sweeper launch digits_quickstart && sweeper report digits_quickstart -o report",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)  # fmt: skip
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_say_version,
    help="say which version this is, and of which commit",
)  # fmt: skip
def cli() -> None:
    """Sweeps of networks made of random weights: plan, launch, browse, report."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code, whatever happens."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    with _never_failing("stdout") as out, _never_failing("stderr"):
        code = _run(words)
        if out and out.problem:
            print(f"sweeper: error: the output could not be written: {out.problem}", file=sys.stderr)
            return code or ExitCode.SOME_FAILED
        return code


def _run(words: list[str]) -> int:
    try:
        if {"_SWEEPER_COMPLETE", "_ARGCOMPLETE"} & os.environ.keys():  # a shell asks, or an old script
            from sweeper.cli.completion import answer

            return answer(cli, os.environ)
        reach_this_machine_directly(os.environ)
        _check_folder()
        with cli.make_context("sweeper", words) as context:
            code = int(cli.invoke(context))
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where it is known what to do with a reader that has gone
        return code
    except click.exceptions.Exit as left:  # after --help
        return left.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "sweeper"
        print(f"sweeper: error: {fault(error)}\n(see {path} --help)", file=sys.stderr)
        return ExitCode.WRONG_INPUT
    except InvalidInput as error:
        for line in str(error).splitlines():
            print(f"sweeper: error: {line}", file=sys.stderr)
        return ExitCode.WRONG_INPUT
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.GOOD
    except Exception as error:  # the last boundary: nobody below knew what to say
        return _tell_of_bug(error, words)


PLAIN = {"±": "+-", "−": "-", "–": "-", "…": "...", "×": "x", "·": ".", "→": "->", "≥": ">=", "≤": "<="}


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    """What an output says in place of characters that its encoding lacks."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(PLAIN.get(letter, "?") for letter in lacking), error.end


codecs.register_error("sweeper", _in_plain_letters)


class _Outlet:
    """An output that does not end what writes to it: what cannot be written is dropped, and the reason kept."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.problem = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, act: Callable[[], object]) -> None:
        if self.problem:
            return
        try:
            act()
        except BrokenPipeError:
            raise
        except OSError as error:  # a full disk, a terminal that was closed
            self.problem = error.strerror or str(error)
            with contextlib.suppress(OSError):  # what is still held back would fail again as the process ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


@contextlib.contextmanager
def _never_failing(name: str) -> Iterator[_Outlet | None]:
    """Puts an outlet before sys.stdout or sys.stderr, which may be None where it was closed before we began."""
    stream = getattr(sys, name)
    if stream is None:
        yield None
        return
    outlet, errors = _Outlet(stream), getattr(stream, "errors", None)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="sweeper")
    setattr(sys, name, outlet)
    try:
        yield outlet
        outlet.flush()
    finally:
        setattr(sys, name, stream)
        if isinstance(stream, io.TextIOWrapper) and not stream.closed:
            stream.reconfigure(errors=errors)


def _check_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError:
        raise InvalidInput("the folder that you stand in is gone: go to one that is there, and try again") from None


PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def reach_this_machine_directly(environment: MutableMapping[str, str]) -> None:
    """Tells this process, and those that it starts, that no proxy leads to this machine's own servers."""
    named = {name: environment[name] for name in ("no_proxy", "NO_PROXY") if environment.get(name)}
    if "*" in named.values() or not any(environment.get(one) or environment.get(one.upper()) for one in PROXIES):
        return
    there = list(dict.fromkeys(part.strip() for text in named.values() for part in text.split(",")))
    without = ",".join([*there, *(host for host in THIS_MACHINE if host not in there)])
    environment.update(no_proxy=without, NO_PROXY=without)


PASSWORD = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]+@")


def _tell_of_bug(error: Exception, words: Sequence[str]) -> ExitCode:
    """Says what to report, and writes the traceback to a file, without passwords."""
    from sweeper.records.environment import sources

    known = sources()
    head = [
        f"sweeper {known['version']} (commit {known['git_commit']}), Python {sys.version}",
        f"arguments: {words}",
        "",
    ]
    text = PASSWORD.sub(r"\1:***@", "\n".join(head) + "\n" + "".join(traceback.format_exception(error)))
    what = (str(error).strip() or "no more is known").splitlines()[0][:300]
    print(PASSWORD.sub(r"\1:***@", f"sweeper: error: {type(error).__name__}: {what}"), file=sys.stderr)
    print("sweeper: error: this is a fault of sweeper's, or something that it does not know yet", file=sys.stderr)
    try:
        number, name = tempfile.mkstemp(prefix="sweeper-fault-", suffix=".txt")
        os.close(number)
        Path(name).write_text(text, encoding="utf-8", errors="backslashreplace")
        print(f"sweeper: error: to report it, send {name}, which holds the command and the traceback", file=sys.stderr)
    except OSError as full:
        print(f"sweeper: error: its traceback can be written to no file ({full.strerror}):\n{text}", file=sys.stderr)
    return ExitCode.BUG


if __name__ == "__main__":
    sys.exit(main())
