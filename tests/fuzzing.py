"""Broken specs and tickets by the thousand: `python -m tests.fuzzing 100000`. Nothing but the declared errors may come.

Half of the inputs are damaged bytes. The other half are damaged with sense: YAML that is well formed and says nonsense;
tickets whose arrays or fields were changed and whose digest was then made to fit, so that what is behind it is reached.
"""

from __future__ import annotations

import collections
import json
import random
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.numpy import load

from search_spaces.loading import bundled_specs, load_spec
from search_spaces.spec import Spec
from search_spaces.yaml_reader import read_yaml
from trainers.errors import InvalidInput
from trainers.methods.base import attach
from trainers.methods.registry import build_method
from trainers.networks.registry import build_network
from trainers.recipe.recipe import Recipe
from trainers.tickets.file_format import read_fields, seal
from trainers.tickets.tickets import encode_ticket, load_ticket

# What breaks readers of YAML, or says what no field expects.
WORDS = (
    "!!python/object/apply:os.system ['id']", "!!binary Zm9v", "!!set {a, b}", "!!int x", "!<tag:a.b> y",
    "&a [*a]", "*nobody", "<<: *a", "? [1, 2]", "---", "...", "%YAML 1.1", "\t", "\x00", "\x85", "\ufeff", "|\n", ">-",
    "[" * 60, "{" * 60, "- " * 40, "1e999", ".nan", "0x" + "f" * 40, "9" * 40, "1_000", "2001-01-01", "~", "''",
    "../../etc/passwd", "name", "recipe:", "axes:", "seeds:", "arms:", "exclude:", "limits:", ": ", "#", "\n",
)  # fmt: skip
VALUES = (
    None, True, False, 0, 1, -1, 2, 3, 2**31, 2**63, -(2**70), 0.0, 0.5, 1e-300, float("inf"), float("nan"), "", "a",
    "greedy", "slot_machine", "../x", "x" * 300, "\x00", "é", [], [[]], [1], [None], [0.5, 0.5], {}, {"a": 1}, {"": []},
)  # fmt: skip


def damaged_text(text: str, chance: random.Random) -> str:
    """A few pieces of it taken out, doubled, or replaced by something awkward."""
    for _ in range(chance.randint(1, 6)):
        start = chance.randrange(len(text) + 1)
        end = min(len(text), start + chance.choice((0, 1, 1, 3, 10, 40)))
        piece = chance.choice((chance.choice(WORDS), text[start:end] * 2, chr(chance.randrange(1, 0xD800)), ""))
        text = text[:start] + piece + text[end:]
    return text


def damaged_value(value: Any, chance: random.Random) -> Any:
    """The same structure with one leaf, key or element changed."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        change = chance.random()
        changed = {name: part for name, part in value.items() if change > 0.15 or name != key}
        if change > 0.3:
            changed[key] = damaged_value(value[key], chance)
        elif change > 0.15:
            changed[chance.choice(("optoins", "", "name", "seed", "options", "slot_epochs"))] = changed.pop(key)
        return changed
    if isinstance(value, list) and value and chance.random() < 0.7:
        changed = list(value)
        changed[chance.randrange(len(changed))] = damaged_value(chance.choice(changed), chance)
        return changed
    return chance.choice(VALUES)


def spec_text(chance: random.Random, texts: list[str]) -> str:
    text = chance.choice(texts)
    if chance.random() < 0.5:
        return damaged_text(text, chance)
    value = read_yaml(text)
    for _ in range(chance.randint(1, 4)):
        value = damaged_value(value, chance)
    return str(yaml.safe_dump(value, allow_unicode=chance.random() < 0.5))


def damaged_bytes(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        where = chance.randrange(chance.choice((16, 600, len(content)))) % max(1, len(changed))
        kind = chance.random()
        if kind < 0.6:
            changed[where : where + 1] = bytes([chance.randrange(256)])
        elif kind < 0.8:
            del changed[where : where + chance.choice((1, 8, 1000))]
        else:
            changed[where:where] = chance.randbytes(chance.choice((1, 8, 100)))
    return bytes(changed)


def ticket_bytes(chance: random.Random, tickets: list[bytes]) -> bytes:
    content = chance.choice(tickets)
    if chance.random() < 0.5:
        return damaged_bytes(content, chance)
    with tempfile.SpooledTemporaryFile() as file:
        file.write(content)
        fields = read_fields(file, len(content))
    arrays = load(content)
    if chance.random() < 0.5:
        fields = damaged_value(fields, chance)
    else:
        arrays = damaged_arrays(arrays, chance)
    try:
        return seal(arrays, fields if isinstance(fields, dict) else {})
    except (ValueError, TypeError):  # what cannot be written, such as NaN in JSON
        return damaged_bytes(content, chance)


def damaged_arrays(arrays: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    changed = dict(arrays)
    name = chance.choice(list(changed))
    array = changed.pop(name)
    kind = chance.randrange(6)
    if kind == 0:
        changed[name] = array[: len(array) // 2]
    elif kind == 1:
        changed[name] = array.astype(chance.choice((np.float64, np.bool_)))
    elif kind == 2:
        changed[name] = np.frombuffer(chance.randbytes(array.nbytes), array.dtype).reshape(array.shape)
    elif kind == 3:
        changed[chance.choice(("", "kept.fc9.weight", "packed", name + "x"))] = array
    elif kind == 4:
        changed[name] = np.ascontiguousarray(array.reshape(-1, 1))
    return changed


def sample_tickets() -> list[bytes]:
    """A small network of every kind of choice that tickets can hold."""
    recipes: list[dict[str, Any]] = [
        {"method": "slot_machine", "options": 4},
        {"method": "slot_machine", "options": 40},
        {"method": "edge_popup", "keep_fraction": 0.3},
        {"method": "learned"},
    ]
    made = []
    for fields in recipes:
        recipe = Recipe.complete({"network": "lenet", "dataset": "digits", "width": 0.05, **fields})
        torch.manual_seed(0)
        network = build_network(recipe, (1, 8, 8), 10)
        attach(network, build_method(recipe), recipe.seed)
        made.append(encode_ticket(network, recipe))
    return made


def outcome(read: Callable[[], object]) -> str:
    """'accepted', 'refused', or the traceback of what must not happen."""
    try:
        read()
    except InvalidInput:
        return "refused"
    except Exception:
        return traceback.format_exc()
    return "accepted"


def fuzz(count: int, seed: int = 0) -> dict[str, Any]:
    """`count` inputs, half of them specs; how they were met, and the first that were met otherwise than declared."""
    chance = random.Random(seed)
    specs = [Path(__file__).parents[1].joinpath("search_spaces", "specs", f"{name}.yaml") for name in bundled_specs()]
    # Reading one builds its every recipe; a seed or two show what a hundred would.
    texts = [Spec.parse(read_yaml(path.read_text())).model_copy(update={"seeds": 2}).to_yaml() for path in specs]
    tickets = sample_tickets()
    met: dict[str, collections.Counter[str]] = {"spec": collections.Counter(), "ticket": collections.Counter()}
    crashes: list[dict[str, str]] = []
    began, slowest = time.process_time(), 0.0
    with tempfile.TemporaryDirectory(prefix="sweeper-fuzz-") as folder:
        for number in range(count):
            kind = "spec" if number % 2 else "ticket"
            path = Path(folder) / f"input.{'yaml' if kind == 'spec' else 'safetensors'}"
            if kind == "spec":
                path.write_text(spec_text(chance, texts), encoding="utf-8", errors="surrogatepass", newline="")
            else:
                path.write_bytes(ticket_bytes(chance, tickets))
            before = time.process_time()
            found = outcome(lambda: load_spec(str(path)) if kind == "spec" else load_ticket(path))  # noqa: B023
            slowest = max(slowest, time.process_time() - before)
            if found not in ("accepted", "refused"):
                crashes.append({"kind": kind, "input": path.read_bytes().hex(), "traceback": found})
                found = "crashed"
            met[kind][found] += 1
    return {
        "inputs": count,
        "seed": seed,
        **{kind: dict(counts) for kind, counts in met.items()},
        "cpu_seconds": round(time.process_time() - began, 1),
        "slowest_cpu_seconds": round(slowest, 3),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "crashes": crashes[:20],
    }


if __name__ == "__main__":
    told = fuzz(int(sys.argv[1]), *map(int, sys.argv[2:]))
    print(json.dumps(told, indent=1))
    sys.exit(bool(told["crashes"]))
