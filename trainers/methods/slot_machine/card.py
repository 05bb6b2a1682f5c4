"""The card of slot machines (Aladago & Torresani, ICML 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from trainers.methods.card import Family, Given, Method
from trainers.methods.kinds import (
    EvaluationSamples,
    NotNegative,
    Options,
    ValueBound,
    evaluation_words,
    value_bound_words,
)
from trainers.methods.schedules import is_tuned, published_schedule

if TYPE_CHECKING:
    from torch import nn

# Epochs of the slot phase by network; the authors' code trains 40 more where selection is probabilistic.
PAPERS_EPOCHS = {"lenet": 200, "conv2": 200, "conv4": 200, "conv6": 200, "vgg19": 220}
AUTHORS_EPOCHS = {"lenet": 120, "conv2": 140, "conv4": 140, "conv6": 140, "vgg19": 120}
SHARING = {"none": "", "layer": "layer-shared", "network": "network-shared"}


@dataclass(frozen=True)
class SlotMachine(Method):
    """K fixed random values per connection; scores learn which one to use (Aladago & Torresani, 2021)."""

    options: Options
    selection: Annotated[Literal["greedy", "probabilistic"], Field(description="arg-max (GS) or sampled (PS)")]
    sharing: Annotated[Literal["none", "layer", "network"], Field(description="who shares the K values")]
    value_bound: ValueBound
    score_range_conv: Annotated[NotNegative, Field(description="initial scores U(0, this x b), convolutions")]
    score_range_linear: Annotated[NotNegative, Field(description="initial scores U(0, this x b), linear layers")]
    evaluation: Annotated[
        Literal["argmax", "sampled"], Field(description="weights at evaluation: PS argmax or sampled")
    ]
    evaluation_samples: EvaluationSamples | None = None
    value_layout: Annotated[
        Literal["centred", "antithetic", "stratified"] | None,
        Field(
            description="shared values less their mean; pairs of ±w; or one value from each of K equal parts of the "
            "range; left out: independent values"
        ),
    ] = None

    families: ClassVar = (
        Family("gs", "slot machine, GS", "o", "#0068a8", "#5fb4ea"),
        Family("ps", "slot machine, PS", "s", "#b04a00", "#f2935a"),
        Family("gs_finetuned", "slot machine GS, finetuned", "D", "#6546b0", "#b09cf0"),
        Family("ps_finetuned", "slot machine PS, finetuned", "d", "#856300", "#dcb643"),
    )
    in_words: ClassVar = frozenset({"options", "selection"})
    optional: ClassVar = frozenset({"evaluation_samples", "value_layout"})
    decisive: ClassVar = ("selection", "options")
    phrases: ClassVar = {
        "sharing": SHARING.__getitem__, "value_bound": value_bound_words, "evaluation": evaluation_words,
        "value_layout": "{} values".format,
        "evaluation_samples": "mean of {} samples".format,
    }  # fmt: skip

    @classmethod
    def preset_fields(cls, given: Given, preset: str) -> dict[str, Any]:
        network, options = given["network"], given.get("options", 8)
        probabilistic = given.get("selection", "greedy") == "probabilistic"
        many = isinstance(options, int) and options > 8
        tuned = is_tuned(network, preset)
        if preset == "authors_code":
            rate = (25.0 if network == "conv6" else 50.0) if probabilistic else (0.01 if many else 0.1)
            linear, epochs = 1.0, AUTHORS_EPOCHS.get(network)
            epochs = epochs + 40 if epochs and probabilistic else epochs
        else:
            rate = (100.0 if tuned else 25.0) if probabilistic else (0.1 if many else 0.2)
            # Greedy selection depends on rate / range alone (but for decay), and in Lenet the paper's is too large.
            linear, epochs = 1.0 if tuned else 0.1, PAPERS_EPOCHS.get(network)
        # The authors' code evaluates by sampling, too; only what it exports is the arg-max.
        sampled = probabilistic and (tuned or preset == "authors_code")
        return {
            "options": 8,
            "selection": "greedy",
            "sharing": "none",
            "value_bound": "glorot_uniform",
            "evaluation": "sampled" if sampled else "argmax",
            "score_range_conv": 1.0,
            "score_range_linear": linear,
            **({"slot_epochs": epochs} if epochs else {}),
            "slot_learning_rate": rate,
            **published_schedule("slot", preset, network),
            # Decay keeps scores that are sampled near even odds. Of pixels that are the same in all images, and not 0,
            # an arg-max makes a shift that sampling does not have.
            **({"slot_weight_decay": 0.0, "normalisation": "unit"} if tuned and probabilistic else {}),
        }

    @classmethod
    def without(cls, own: Given) -> dict[str, str]:
        if own.get("selection") == "probabilistic" and own.get("evaluation") == "sampled":
            return {}
        return {"evaluation_samples": "only probabilistic selection that is evaluated by sampling has samples"}

    @classmethod
    def faults(cls, own: Given) -> list[str]:
        if own.get("value_layout") == "centred" and (own.get("sharing") == "none" or own.get("options") == 1):
            return [
                "value_layout: 'centred' is of two or more shared values (sharing: layer or network; "
                "or take antithetic or stratified)"
            ]
        if own.get("selection") == "greedy" and own.get("evaluation") == "sampled":
            return ["evaluation: greedy selection evaluates by argmax, not 'sampled'"]
        return []

    @classmethod
    def idle(cls, *, convolutions: bool) -> dict[str, Any]:
        return {} if convolutions else {"score_range_conv": 1.0}  # what every preset has

    @classmethod
    def recorded_for_all(cls, own: Given) -> dict[str, Any]:
        one_pass = own.get("selection") == "probabilistic" and own.get("evaluation_samples") is None
        return {"evaluation": "both"} if one_pass else {}

    @property
    def words(self) -> str:
        return f"K={self.options} {'PS' if self.selection == 'probabilistic' else 'GS'}"

    def family(self, finetuned: bool) -> Family:
        name = ("ps" if self.selection == "probabilistic" else "gs") + ("_finetuned" if finetuned else "")
        return next(family for family in self.families if family.name == name)

    @property
    def options_weighed(self) -> int:
        return self.options if self.selection == "probabilistic" else 0

    @property
    def selection_effort(self) -> float:
        return 400.0 + 150.0 * self.options if self.selection == "probabilistic" else 200.0  # Lenet, K = 2 to 64

    @property
    def evaluation_passes(self) -> int:
        return 1 + (self.evaluation_samples or 1) if self.selection == "probabilistic" else 1  # arg-max, and sampled

    def attach(self, layer: nn.Module, name: str, seed: int) -> None:
        from trainers.kernels.options import draw_options
        from trainers.methods.slot_machine.weight import attach_options

        options = draw_options(
            layer,
            name,
            seed=seed,
            count=self.options,
            sharing=self.sharing,
            value_bound=self.value_bound,
            score_ranges=(self.score_range_conv, self.score_range_linear),
            layout=self.value_layout,
        )
        slot = attach_options(
            layer,
            options,
            probabilistic=self.selection == "probabilistic",
            sample_at_evaluation=self.evaluation == "sampled",
        )
        slot.evaluation_samples = self.evaluation_samples or 1
