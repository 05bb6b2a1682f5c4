"""Questions to whoever sits at the terminal. Where nobody does, or --yes was said, nobody is asked."""

from __future__ import annotations

import argparse
import sys


def may_ask(options: argparse.Namespace) -> bool:
    """Whether there is somebody to ask who wants to be asked."""
    return not options.yes and sys.stdin.isatty() and sys.stdout.isatty()


def answered_yes(question: str) -> bool:
    """Whether the answer is yes; nothing, and the end of the input, mean no."""
    try:
        answer = input(f"{question} [y/N] ")
    except EOFError:
        answer = ""
    return answer.strip().lower() in ("y", "yes")
