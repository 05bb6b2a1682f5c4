"""What a finished stage leaves behind, and its text form, of which not one byte can change unnoticed."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import lru_cache, reduce
from typing import Any, overload

from pydantic import ValidationError

from trainers.costs import totals
from trainers.costs.plugged import costs_of
from trainers.costs.registry import COSTS, RECORD_FORMAT
from trainers.kept_epochs import is_kept
from trainers.recipe.choices import Phase

FORMAT = RECORD_FORMAT  # 1 had no train_cpu_seconds and no energy_joules; what is new since 3, its registry says
OF_PLUGINS = "costs_of_plugins"  # where a record's text has them, by their whole names; absent where it has none


class Damaged(Exception):
    """Bytes that are not what was written; the text says how they differ."""


class NewerFormat(Exception):
    """A record that a later version of this package wrote."""


@dataclass(frozen=True)
class StageRecord:
    """A stage as it was trained: what led to it, its epochs, its result and its cost."""

    key: str
    parent: str | None
    lineage: str
    phase: Phase
    start: int  # epochs of the phase before it
    end: int
    recipe: Mapping[str, Any]
    data_digest: str
    numerics_version: int
    epochs: Sequence[dict[str, Any]]  # trainers' EpochRecord without its layers, one for each of start+1 … end
    test_accuracy: float  # at the stage's end; NaN in a partial record
    test_loss: float
    costs: Mapping[str, float]  # those that were measured, by name; in its text COSTS stand beside the other fields
    evaluation_seconds: float
    environment: dict[str, Any]  # host, device, torch, python, threads, git_commit, version, …
    started_at: str  # UTC, ISO 8601
    ended_at: str
    selection: Sequence[dict[str, Any]] = field(default_factory=list)  # of some epochs: sweeper.records.stage_record
    # All four only where selection is probabilistic, whichever `test_accuracy` is; formats before 5 had no losses.
    argmax_test_accuracy: float | None = None
    sampled_test_accuracy: float | None = None
    argmax_test_loss: float | None = None
    sampled_test_loss: float | None = None
    validation_accuracy: float | None = None  # both at the end of a stage without epochs; of others their last says it
    validation_loss: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds of training and evaluation."""
        return self.costs["train_seconds"] + self.evaluation_seconds

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain values; not copied, which would take longer than writing them."""
        named = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "costs"}
        if self.epochs:  # records had none of these before there were stages without epochs
            del named["validation_accuracy"], named["validation_loss"]
        plain = {"recipe": dict(self.recipe), "epochs": list(self.epochs), "selection": list(self.selection)}
        own = {name: amount for name, amount in self.costs.items() if name not in COSTS}
        return named | plain | {name: self.costs.get(name) for name in COSTS} | ({OF_PLUGINS: own} if own else {})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StageRecord:
        """The record with these fields, no others and all that records always had. Raises Damaged."""
        own, optional, wanted = _names_of_fields(tuple(COSTS))
        if not wanted - optional <= values.keys() <= wanted:
            odd = ", ".join(sorted(wanted ^ values.keys()))
            raise Damaged(f"its fields are not those of a stage's record: {odd}")
        costs = {name: values[name] for name in COSTS if values.get(name) is not None}
        return cls(
            costs={**costs, **values.get(OF_PLUGINS, {})},
            **{name: value for name, value in values.items() if name in own},
        )


@lru_cache(maxsize=1)
def _names_of_fields(costs: tuple[str, ...]) -> tuple[set[str], set[str], set[str]]:
    """Of a record but for its costs; of those that may be missing; of all. They are asked for with every record."""
    own = {item.name for item in fields(StageRecord)} - {"costs"}
    optional = {item.name for item in fields(StageRecord) if {item.default, item.default_factory} != {MISSING}}
    optional |= {name for name in costs if not COSTS[name].in_every_record} | {OF_PLUGINS}
    return own, optional, own | {*costs, OF_PLUGINS}


def evaluated_as(record: StageRecord, way: str | None) -> StageRecord:
    """The record with the figures of this evaluation, where the recipe that trained it evaluates otherwise.

    Recipes share a stage only where its record holds the figures of all of them (`Method.recorded_for_all`).
    """
    if record.argmax_test_loss is None or record.recipe.get("evaluation") == way:
        return record
    figures = {name: getattr(record, f"{way}_{name}") for name in ("test_accuracy", "test_loss")}
    return replace(record, epochs=EvaluatedEpochs(record.epochs, way), **figures)


class EvaluatedEpochs(Sequence[dict[str, Any]]):
    """The epochs of a record by another evaluation; they are read only where more than their last is asked for."""

    def __init__(self, epochs: Sequence[dict[str, Any]], way: str | None) -> None:
        self._epochs, self._way = epochs, way

    def __len__(self) -> int:
        return len(self._epochs)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(epochs_evaluated_as(self._epochs, self._way))

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, place: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(place, slice):
            return epochs_evaluated_as(self._epochs[place], self._way)
        return _epoch_evaluated_as(self._epochs[place], self._way)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


def epochs_evaluated_as(epochs: Iterable[Mapping[str, Any]], way: str | None) -> list[dict[str, Any]]:
    """The same of epochs, also of a stage that has not ended."""
    return [_epoch_evaluated_as(epoch, way) for epoch in epochs]


def _epoch_evaluated_as(epoch: Mapping[str, Any], way: str | None) -> dict[str, Any]:
    if epoch.get("argmax_validation_loss") is None:
        return dict(epoch)
    return {**epoch, **{name: epoch[f"{way}_{name}"] for name in ("validation_accuracy", "validation_loss")}}


def joined(before: StageRecord, after: StageRecord) -> StageRecord:
    """Two stages of one lineage, the second from where the first ends, as if they had been trained as one."""
    assert (before.lineage, before.end) == (after.lineage, after.start)
    return replace(
        after,
        parent=before.parent,
        start=before.start,
        epochs=[*epochs_evaluated_as(before.epochs, after.recipe.get("evaluation")), *after.epochs],
        costs=totals.of_stages([before.costs, after.costs], costs_of(after.recipe)),
        evaluation_seconds=before.evaluation_seconds + after.evaluation_seconds,
        started_at=before.started_at,
        selection=reduce(
            lambda kept, s: with_epoch(kept, s["epoch"], s["layers"]), after.selection, list(before.selection)
        ),
    )


def cut(record: StageRecord, start: int, parent: str) -> StageRecord:
    """The later part of a stage, as if it had been trained from the point `parent` at epoch `start`."""
    epochs = record.epochs[start - record.start :]
    return replace(
        record,
        parent=parent,
        start=start,
        epochs=epochs,
        costs=totals.of_part(record.costs, len(record.epochs), epochs, costs_of(record.recipe)),
        evaluation_seconds=math.fsum(epoch["evaluation_seconds"] for epoch in epochs),
        selection=[snapshot for snapshot in record.selection if snapshot["epoch"] > start],
    )


@dataclass(frozen=True)
class StateFile:
    """What a record knows of the file with the training state beside it."""

    sha256: str
    size: int

    @property
    def left_out(self) -> bool:
        """Whether it holds no tensor, as in a sweep exported without its states: the result counts, nothing goes on."""
        return self.sha256 == _NO_TENSORS


_NO_TENSORS = hashlib.sha256(b"\x08" + bytes(7) + b"{}      ").hexdigest()  # safetensors of an empty mapping


# The end of a record's text. Its hash is that of all the rest, so that to check it nothing is encoded again.
_SEAL = re.compile(rb'"sha256":"([0-9a-f]{64})",("state_file":\{[^{}]*\}\})\Z')


def encode(record: StageRecord, state: StateFile) -> bytes:
    """The text of record.json: canonical JSON that holds the hash of itself and of the state file."""
    content = {"format": FORMAT, "record": record.as_dict(), "state_file": asdict(state)}
    return canonical({**content, "sha256": sha256(canonical(content))})


def decode(text: bytes) -> tuple[StageRecord, StateFile]:
    """A record and what it knows of its state file.

    Raises Damaged unless every byte is as written, NewerFormat for what a later version wrote.
    """
    seal = _SEAL.search(text)
    whole = seal is not None and sha256(text[: seal.start()] + seal[2]) == seal[1].decode()
    try:
        content = json.loads(text)
    except ValueError as error:
        raise Damaged(f"not JSON: {error}") from None
    if not isinstance(content, dict) or "record" not in content:
        raise Damaged("JSON, but not a stage's record")
    if not whole:
        raise Damaged("it does not match its own SHA-256")
    if isinstance(content.get("format"), int) and content["format"] > FORMAT:
        raise NewerFormat(f"format {content['format']}, and this version reads up to {FORMAT}")
    record = StageRecord.from_dict(content["record"])
    return (_recounted(record) if content.get("format") in (1, 2) else record), StateFile(**content["state_file"])


def _recounted(record: StageRecord) -> StageRecord:
    """A record of formats 1 and 2 with its FLOPs as they are counted now: they follow from the recipe."""
    from trainers.costs.flops import recounted  # only old records need it
    from trainers.recipe.recipe import Recipe

    try:
        recipe = Recipe.model_validate(dict(record.recipe))
    except ValidationError:  # of a version that knew other recipes: what it says stays
        return record
    return replace(record, costs={**record.costs, "flops": recounted(record.costs["flops"], recipe)})


def encode_partial(record: StageRecord, state: bytes) -> bytes:
    """The file of an unfinished stage: a line with the hash of the rest, the record so far, the state."""
    rest = canonical(record.as_dict()) + b"\n" + state
    return sha256(rest).encode() + b"\n" + rest


def decode_partial(content: bytes) -> tuple[StageRecord, bytes]:
    """The record so far and the bytes of its state. Raises Damaged unless every byte is as written."""
    said, _, rest = content.partition(b"\n")
    if said != sha256(rest).encode():
        raise Damaged("it does not match its own SHA-256")
    text, _, state = rest.partition(b"\n")
    return StageRecord.from_dict(json.loads(text)), state


def sha256(content: bytes) -> str:
    """SHA-256 (hex)."""
    return hashlib.sha256(content).hexdigest()


def canonical(value: Any) -> bytes:
    """The canonical JSON text of a value: equal values have equal texts."""
    # NaN and infinities stay: a validation loss may overflow in a run that is otherwise sound.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


ARTIFACT = "selection.json"
Snapshot = dict[str, Any]  # "epoch" of the phase, and "layers": trainers' LayerSelection, one each


def with_epoch(snapshots: Sequence[Snapshot], epoch: int, layers: Sequence[Mapping[str, Any]]) -> list[Snapshot]:
    """The snapshots of a stage after one more epoch. Only the last has the samples of single connections."""
    if not layers:  # finetuning selects nothing
        return list(snapshots)
    kept = [_without_samples(snapshot) for snapshot in snapshots if is_kept(snapshot["epoch"])]
    return [*kept, {"epoch": epoch, "layers": [dict(layer) for layer in layers]}]


def selection_text(snapshots: Iterable[Snapshot]) -> str:
    """The JSON text of the snapshots of a trial's stages, one after the other."""
    kept: list[Snapshot] = []
    for snapshot in snapshots:
        kept = with_epoch(kept, snapshot["epoch"], snapshot["layers"])
    return json.dumps(kept, sort_keys=True, separators=(",", ":"))


def _without_samples(snapshot: Snapshot) -> Snapshot:
    layers = [{name: value for name, value in layer.items() if name != "sample"} for layer in snapshot["layers"]]
    return {**snapshot, "layers": layers}
