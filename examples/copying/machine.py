"""An LSTM controller with an external memory, after neural Turing machines (Graves et al., 2014), and small.

The memory has a slot a step. A head's place is a distribution over the slots; in every step it stays or moves on by
one, softly. What is written is added where the writing head is; what is read goes to the controller and to the outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

WORD = 12  # numbers in a slot


class MemoryMachine(nn.Module):
    """Sequences (n, 1, steps, values) to outputs (n, outputs), those of the last steps side by side."""

    def __init__(self, steps: int, values: int, outputs: int, units: int):
        super().__init__()
        self.asked = (steps - 1) // 2
        self.units, self.slots = units, steps
        self.controller = nn.Linear(values + units + WORD, 4 * units, bias=False)
        self.heads = nn.Linear(units + values, 2 * 2 + 1, bias=False)  # stay or move, for each head; how much to write
        self.word = nn.Linear(units + values, WORD, bias=False)
        self.answer = nn.Linear(units + WORD, outputs // self.asked, bias=False)

    def forward(self, sequences: Tensor) -> Tensor:
        with parametrize.cached():  # a layer's weight is selected once a pass, not once a step
            return self._run(sequences[:, 0])

    def _run(self, sequences: Tensor) -> Tensor:
        count = len(sequences)
        memory = sequences.new_zeros(count, self.slots, WORD)
        hidden, cell, read = (sequences.new_zeros(count, size) for size in (self.units, self.units, WORD))
        start = torch.nn.functional.pad(sequences.new_ones(count, 1), (0, self.slots - 1))
        writing = reading = start
        answers = []
        for values in sequences.unbind(1):
            seen, forget, give, new = self.controller(torch.cat([values, hidden, read], 1)).chunk(4, 1)
            cell = cell * torch.sigmoid(forget + 1) + torch.sigmoid(seen) * torch.tanh(new)
            hidden = torch.sigmoid(give) * torch.tanh(cell)
            known = torch.cat([hidden, values], 1)
            moves, amount = self.heads(known).split([4, 1], 1)
            word = torch.tanh(self.word(known)) * torch.sigmoid(amount)
            memory = memory + writing[:, :, None] * word[:, None, :]
            read = (reading[:, :, None] * memory).sum(1)
            answers.append(self.answer(torch.cat([hidden, read], 1)))
            move_writing, move_reading = moves.chunk(2, 1)
            writing, reading = _moved(writing, move_writing), _moved(reading, move_reading)
        return torch.cat(answers[-self.asked :], 1)


def _moved(place: Tensor, move: Tensor) -> Tensor:
    """Where a head is after it stays, or moves on by one slot."""
    stay, go = torch.softmax(move, 1).unsqueeze(2).unbind(1)
    return stay * place + go * place.roll(1, 1)
