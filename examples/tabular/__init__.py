"""A method, a network and a data set of one's own: learned signs of fixed weights, on rows of a table."""

from __future__ import annotations

from .data import TUMOURS
from .method import LearnedSigns
from .network import RESIDUAL

# What specs may name, as tabular.signs, tabular.residual, tabular.tumours.
METHODS = {"signs": LearnedSigns}
NETWORKS = {"residual": RESIDUAL}
DATA_SETS = {"tumours": TUMOURS}
