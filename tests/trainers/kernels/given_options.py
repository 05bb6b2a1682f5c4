"""Options that a test states itself, where drawn ones would not do: ties, say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainers.kernels.options import FloatArray


@dataclass(frozen=True)
class GivenOptions:
    """Values and initial scores, each (connections, K)."""

    values: Tensor
    scores: Tensor

    @property
    def count(self) -> int:
        return self.values.shape[1]

    @property
    def connections(self) -> int:
        return self.values.shape[0]

    @property
    def value_bound(self) -> float:
        return float(self.values.abs().max())

    def native(self) -> None:
        return None

    def lines(self, connections: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        index = torch.from_numpy(connections)
        return self.values.cpu()[index].numpy(), self.scores.cpu()[index].numpy()

    def line(self, option: int, device: torch.device, first: int = 0, last: int | None = None) -> tuple[Tensor, Tensor]:
        return self.values[first:last, option].to(device), self.scores[first:last, option].to(device)
