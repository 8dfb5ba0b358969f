"""What an analysis of anyone's checkpoints holds."""

from dataclasses import dataclass

import pandas as pd

from polca.external.directions import Directions
from polca.external.settings import AnalysisSettings
from polca.method.bases import Basis
from polca.method.clustering import Clusters
from polca.method.completeness import Completeness
from polca.method.decomposition import Trajectories
from polca.method.projections import Projections


@dataclass(frozen=True)
class Analysis:
    """What `analyze` found.

    Attributes:
        settings: as they were used, with nothing left open.
        parameters: number of them, tied weights counted once.
        breaks: one row a cluster, as `breakthroughs` gives it; None where the checkpoints are not evenly spaced.
        complete: how much of the true loss change the allocations along the basis add up to.
        fallback: what of the model has no rule in `forward_rules`; None where all vectors took one pass.
        directions: what all vectors together say of the tokens; None for a single vector or next to no tokens.
    """

    settings: AnalysisSettings
    parameters: int
    basis: Basis
    projections: Projections
    trajectories: Trajectories
    clusters: Clusters
    breaks: pd.DataFrame | None
    complete: Completeness
    fallback: str | None = None
    directions: Directions | None = None
