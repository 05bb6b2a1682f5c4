"""A spec as programs make it or load it: checked to its last recipe as soon as it exists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from search_spaces.expansion import expand
from search_spaces.loading import load_spec, plugin_folder
from search_spaces.spec import Spec as PlainSpec
from sweeper.cli.plugins.agreed import plugin_reader
from trainers.errors import InvalidInput


class Spec(PlainSpec):
    """A sweep's spec: `Spec.load` reads one, and `Spec(name=…, recipe=…, axes=…, seeds=…)` makes one.

    The fields are those of a YAML spec (docs/choices.md); plug-ins are folders, by their paths from the working folder.
    `allow_plugins`: run their code; without it, only of those that this user agreed to before. Raises InvalidInput, a
    line per fault, each naming the field, the rule and the value.
    """

    def __init__(self, *, allow_plugins: bool = False, **fields: Any) -> None:
        if isinstance(named := fields.get("plugins"), list | tuple):
            read = plugin_reader(allow_plugins, yes=True)
            fields["plugins"] = [
                read(plugin_folder(str(one), Path())) if isinstance(one, str | Path) else one for one in named
            ]
        checked = PlainSpec.parse(fields)
        expand(checked)
        super().__init__(**checked.model_dump(exclude_unset=True))

    @classmethod
    def load(
        cls, name_or_path: str | Path, changes: Mapping[str, Any] | None = None, *, allow_plugins: bool = False
    ) -> Self:
        """The spec in a YAML file, or the bundled one of that name, with `changes` as `--set` has them.

        `{"seeds": [0, 1], "limits.epochs": 100}`: see `search_spaces.loading.load_spec`. `allow_plugins`: run
        the code of its plug-ins; without it, only of those that this user agreed to before. Raises InvalidInput.
        """
        overrides = [f"{field}={_as_yaml(field, value)}" for field, value in (changes or {}).items()]
        loaded = load_spec(str(name_or_path), overrides, plugin_reader(allow_plugins, yes=True))
        return cls(**loaded.model_dump(exclude_unset=True))

    def _repr_html_(self) -> str:
        """The spec as YAML, for notebooks."""
        from html import escape

        return f"<pre>{escape(self.to_yaml())}</pre>"


def _as_yaml(field: str, value: Any) -> str:
    """JSON, which YAML is a superset of."""
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise InvalidInput(
            f"{field}: a change is a number, a word, true, false, null, or lists and mappings of these, not {value!r}"
        ) from None
