"""How many bits a weight of a trained network takes once it is stored."""

from __future__ import annotations

import math

from torch import nn

from trainers.attachment import selected_weights
from trainers.slot_machine import SlotWeight

FLOAT_BITS = 32.0


def stored_bits_per_weight(network: nn.Module) -> float:
    """Bits per connection: ceil(log2 K) for a slot machine's index, 1 for a mask, 32 for a learned weight."""
    bits = connections = 0.0
    for _, selection, original in selected_weights(network):
        each = math.ceil(math.log2(selection.options.count)) if isinstance(selection, SlotWeight) else 1.0
        bits += each * original.numel()
        connections += original.numel()
    return bits / connections if connections else FLOAT_BITS
