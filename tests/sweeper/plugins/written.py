"""Plug-ins as tests write them, and what a process forgets so that it knows none."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from search_spaces.loading import load_spec
from search_spaces.spec import Spec
from sweeper.cli.plugins.agreed import plugin_reader
from sweeper.plugins import importing
from tests.sweeper.cli.answers import said
from trainers.plugins import known

SPARSE = '''\
"""A method that starts sparse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from trainers.methods.card import Given, Method


@dataclass(frozen=True)
class SparseStart(Method):
    """Learned weights that start sparse."""

    density: Annotated[float, Field(gt=0, le=1, description="share of the weights that do not start at 0")] = 0.5

    slot_phase: ClassVar = False

    @classmethod
    def preset_fields(cls, given: Given, preset: str) -> dict[str, Any]:
        return {"finetune_epochs": 1}

    def attach(self, layer: Any, name: str, seed: int) -> None:
        import torch

        from trainers.streams import RandomStream, stream_key

        connections = torch.arange(layer.weight.numel())
        chance = RandomStream(stream_key(seed, "sparse", name)).uniform(connections, torch.float64)
        with torch.no_grad():
            layer.weight.mul_((chance < self.density).view_as(layer.weight))


METHODS = {"sparse": SparseStart}
'''
SPEC = """\
name: own
plugins: [./my_methods]
recipe: {network: lenet, dataset: digits, method: my_methods.sparse, width: 0.1, batch_size: 200}
budget_epochs: 1
axes: {method_options.density: [0.25, 1]}
arms: [{method: learned}]
"""


def written(folder: Path, code: str = SPARSE, spec: str = SPEC) -> Path:
    """Writes the plug-in my_methods and a spec beside it; returns the spec's path."""
    (folder / "my_methods").mkdir(parents=True, exist_ok=True)
    (folder / "my_methods" / "__init__.py").write_text(code)
    (folder / "own.yaml").write_text(spec)
    return folder / "own.yaml"


def modules() -> list[str]:
    """The modules of plug-ins that this process has imported."""
    return [name for name in sys.modules if re.match(r"[a-z_]+_[0-9a-f]{16}(\.|$)", name)]


def forget() -> None:
    """Makes this process one that was never told of a plug-in."""
    for name in modules():
        del sys.modules[name]
    for told in (known._known, known._code, importing._folders):
        told.clear()


def read(path: Path, *overrides: str) -> Spec:
    """The spec, whose plug-ins are agreed to."""
    return load_spec(str(path), overrides, plugin_reader(True))


def launched(capsys, spec: Path, storage: Path, *more: str) -> str:
    """What a launch without Ray prints, which ends well."""
    code, out, message = said(capsys, "launch", spec, "--storage", storage, "--local", "--yes", *more)
    assert code == 0, message
    return out
