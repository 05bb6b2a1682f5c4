"""The module of the residual network."""

from __future__ import annotations

from torch import Tensor, nn


class ResidualNetwork(nn.Module):
    """Rows (n, columns, 1, 1) to outputs (n, classes). No biases: a method gives all that is learned."""

    def __init__(self, columns: int, units: int, classes: int):
        super().__init__()
        self.first = nn.Linear(columns, units, bias=False)
        self.blocks = nn.ModuleList(nn.Linear(units, units, bias=False) for _ in range(2))
        self.last = nn.Linear(units, classes, bias=False)

    def forward(self, rows: Tensor) -> Tensor:
        units = self.first(rows.flatten(1)).relu()
        for block in self.blocks:
            units = units + block(units).relu()
        outputs: Tensor = self.last(units)
        return outputs
