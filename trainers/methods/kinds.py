"""The kinds of hyperparameters that several methods have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), AfterValidator(abs)]  # -0.0 is 0.0, in hashes too
EVALUATION_SAMPLES = 10  # masks over which an evaluation of supermasks is averaged, as in the paper
Options = Annotated[int, Field(ge=1, le=65536, description="fixed values a connection (K)")]
EvaluationSamples = Annotated[
    int, Field(ge=2, le=1000, description="passes that a sampled evaluation is averaged over; left out: one")
]
ValueBound = Annotated[
    Literal["glorot_uniform", "glorot_normal"],
    Field(description="values are U(-b, b): b = sqrt(6/(fan_in+fan_out)), or sqrt(2/(fan_in+fan_out))"),
]


def value_bound_words(value: str) -> str:
    """'glorot normal values'."""
    return f"{value.replace('_', ' ')} values"


def evaluation_words(value: str) -> str:
    """'evaluated by mean of samples'."""
    return f"evaluated by {value.replace('_', ' ')}"


def weight_init_words(value: str) -> str:
    """'Kaiming-normal', 'signed constant'."""
    known = {"kaiming_normal": "Kaiming-normal", "glorot_normal": "Glorot-normal", "signed_constant": "signed constant"}
    return known[value]
