"""What a command takes, from its first import to its end: python -m benchmarks.commands "plan digits_quickstart"

CPU seconds and memory of the process, the least of some runs, as other programs only add to them, and whether it loaded
torch.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile

DEFAULT = ("--version", "plan digits_quickstart", "plan lenet_options", "status --help")
PROGRAM = """
import json, resource, sys
from sweeper.cli.main import main
code = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
found = [used.ru_utime + used.ru_stime, used.ru_maxrss // 1024, "torch" in sys.modules, code]
print(json.dumps(found), file=sys.stderr)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", default=DEFAULT)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{'sweeper …':32}{'CPU seconds':>12}{'MB':>8}  torch")
    for command in arguments.commands:
        with tempfile.TemporaryDirectory() as storage:
            words = shlex.split(command)
            words += ["--storage", storage] if words[0] == "plan" else []
            runs = [measured(words) for _ in range(arguments.runs)]
        seconds, megabytes = min(run[0] for run in runs), min(run[1] for run in runs)
        print(f"{command:32}{seconds:>12.2f}{megabytes:>8}  {'yes' if any(run[2] for run in runs) else 'no'}")


def measured(words: list[str]) -> tuple[float, int, bool]:
    """CPU seconds, megabytes, and whether torch was loaded."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True)
    seconds, megabytes, torch, code = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    return seconds, megabytes, torch


if __name__ == "__main__":
    main()
