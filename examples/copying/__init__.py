"""Copying vectors of six bits: a sequence task, and a controller with an external memory for it.

Every weight of the controller and of its heads is that of a linear layer, so that any method can give it: also a slot
machine, whose weights are selected from random values and never changed.
"""

from __future__ import annotations

from .data import VECTORS
from .network import MEMORY

NETWORKS = {"memory": MEMORY}
DATA_SETS = {"vectors": VECTORS}
