"""`sweeper schema`: the JSON Schema of a spec."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from search_spaces.json_schema import spec_schema
from trainers.recipe.errors import InvalidInput

GOOD = 0


def schema(options: argparse.Namespace) -> int:
    """`sweeper schema [-o FILE]`"""
    text = json.dumps(spec_schema(), indent=1)
    if options.out is None:
        print(text)
        return GOOD
    path = Path(options.out)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"out: cannot write {path}: {error.strerror}") from None
    print(f"The schema: {path}; the first line of a spec then says: # yaml-language-server: $schema={path}")
    return GOOD
