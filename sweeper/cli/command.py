"""What a command is: Click's, with exit codes, an example at the end of its help, and faults told in our words."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import IntEnum
from itertools import pairwise
from typing import Any

import click
from click.shell_completion import CompletionItem

from trainers.errors import nearest, one_of


class ExitCode(IntEnum):
    """The exit codes of commands."""

    GOOD = 0
    SOME_FAILED = 1  # some trial, or what else was to be done
    WRONG_INPUT = 2  # told on stderr, before anything starts
    LIMIT_REACHED = 3  # a limit of the spec, or of the time to wait for nodes
    BUG = 70  # a fault of this program's, told on stderr, with its traceback in a file
    INTERRUPTED = 130


class _Helped(click.Command):
    """Help ends with an example, on one line so that it can be copied."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        option = super().get_help_option(ctx)
        if option is not None:
            option.help = "show this help message and exit"
        return option

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(f"\n{self.epilog}\n")


class Command(_Helped):
    """A command that names all missing arguments at once, and never takes a flag for the value of another."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:  # else a shell asks what might come next
            self._check_values_are_there(ctx, args)
        try:
            rest = super().parse_args(ctx, args)
        except click.MissingParameter:
            missing = [_called(one) for one in self.get_params(ctx) if _is_missing(one, ctx)]
            ctx.fail(f"the following arguments are required: {', '.join(missing)}")
        if rest and not ctx.resilient_parsing:
            ctx.fail(f"unrecognized arguments: {' '.join(rest)}")
        return rest

    def _check_values_are_there(self, ctx: click.Context, args: list[str]) -> None:
        flags = {flag: option for option in _options(self, ctx) for flag in (*option.opts, *option.secondary_opts)}
        words = args[: args.index("--")] if "--" in args else args
        for word, following in pairwise([*words, None]):
            flag, equals, value = str(word).partition("=")
            option = flags.get(flag)
            if option is None:
                continue
            if option.is_flag and equals:
                ctx.fail(f"{_called(option)}: ignored explicit argument {value!r}")
            if not (option.is_flag or equals) and (following is None or following.partition("=")[0] in flags):
                ctx.fail(f"{_called(option)}: expected one argument")


class Group(_Helped, click.Group):
    """A group of commands, in the order in which they were added."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            ctx.fail("the following arguments are required: COMMAND")
        return super().parse_args(ctx, args)


class OneOf(click.Choice[Any]):
    """A choice among words, whose error names the nearest one."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        meant = value if self.case_sensitive else str(value).upper()
        return f"{value!r} is not one of {', '.join(map(str, self.choices))}{nearest(meant, map(str, self.choices))}"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        normal = self.normalize_choice(incomplete, ctx)
        return [CompletionItem(str(one)) for one in self.choices if self.normalize_choice(one, ctx).startswith(normal)]


def command(example: str, name: str | None = None) -> Callable[[Callable[..., int]], Command]:
    """Makes a function a command, which is called with its parameters and returns an exit code.

    What it does, in a line, stands in the list of `sweeper.cli.main`.
    """
    settings = {"allow_extra_args": True}  # so that we tell of them
    return click.command(name, cls=Command, epilog=f"example: {example}", context_settings=settings)


def fault(error: click.UsageError) -> str:
    """A line on what is wrong with a command line: parameter, rule, value and nearest valid choice."""
    context = error.ctx
    if isinstance(error, click.NoSuchOption) and context is not None:
        flags = [flag for option in _options(context.command, context) for flag in option.opts + option.secondary_opts]
        return f"unrecognized arguments: {error.option_name}{nearest(error.option_name, flags)}"
    if isinstance(error, click.NoSuchCommand) and context is not None and isinstance(context.command, click.Group):
        return one_of("COMMAND", error.command_name, context.command.list_commands(context))
    if isinstance(error, click.BadParameter) and error.param is not None:
        return f"{_called(error.param)}: {error.message}"
    return error.message


def _options(command: click.Command, context: click.Context) -> list[click.Option]:
    """Those that help shows."""
    return [one for one in command.get_params(context) if isinstance(one, click.Option) and not one.hidden]


def _called(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Argument):
        return parameter.human_readable_name.strip("[].")
    return "/".join(parameter.opts + parameter.secondary_opts)


def _is_missing(parameter: click.Parameter, context: click.Context) -> bool:
    """Whether a parameter is required and was not found, where the parser ends at the first of them."""
    return (
        parameter.required
        and context.params.get(parameter.name or "") is None
        and parameter.value_from_envvar(context) is None
    )


def may_ask(yes: bool) -> bool:
    """Whether a question can be asked: at a terminal, unless `yes` says that none is to be."""
    return not yes and sys.stdin.isatty() and sys.stdout.isatty()


def answered_yes(question: str) -> bool:
    """Whether the answer is yes; nothing, and the end of the input, mean no."""
    try:
        answer = input(f"{question} [y/N] ")
    except EOFError:
        answer = ""
    return answer.strip().lower() in ("y", "yes")
