"""Workers and nodes die at random for two minutes on two raylets; the table must equal that of an undisturbed launch.

python -m benchmarks.deaths [--seconds 120] [--pause 10]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.sweeper.launch.cluster.deaths import tables_after_deaths
from tests.sweeper.launch.started import Started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long workers and nodes die (default: 120)")
    parser.add_argument("--pause", type=float, default=10.0, help="seconds between two deaths at most (default: 10)")
    options, began, counted = parser.parse_args(), 0.0, 0

    def enough(deaths: int) -> bool:
        nonlocal began, counted
        began, counted = began or time.monotonic(), deaths  # it is asked first once workers are there
        return time.monotonic() - began > options.seconds

    try:
        with TemporaryDirectory() as folder:
            disturbed, whole = tables_after_deaths(Path(folder), enough, options.pause)
    finally:
        Started.end_all()
    print(f"{counted} deaths; the tables are {'equal' if disturbed == whole else 'NOT equal'}")
    return int(disturbed != whole)


if __name__ == "__main__":
    sys.exit(main())
