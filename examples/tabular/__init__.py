"""A method, a network and data sets of one's own: learned signs of fixed weights, on rows of tables."""

from __future__ import annotations

from .data import DIABETES, TUMOURS
from .method import LearnedSigns
from .network import RESIDUAL

# What specs may name, as tabular.signs, tabular.residual, tabular.tumours, tabular.diabetes.
METHODS = {"signs": LearnedSigns}
NETWORKS = {"residual": RESIDUAL}
DATA_SETS = {"tumours": TUMOURS, "diabetes": DIABETES}
