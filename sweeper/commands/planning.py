"""`sweeper plan SPEC`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from search_spaces.spec import load_spec
from sweeper.plan import plan_sweep
from sweeper.store import Store


def plan(options: argparse.Namespace) -> int:
    """Prints what a launch would train."""
    spec = load_spec(options.spec, options.overrides)
    data_dir = Path(options.data_dir).expanduser() if options.data_dir else None
    planned = plan_sweep(spec, Store(Path(options.storage).expanduser()), data_dir)
    print(json.dumps(planned.as_dict(), indent=1) if options.json else planned.text())
    return 0
