"""The task: what differs between one setting and another. Everything else is the same functions for all of them.

Methods that judge results import what they need when they are called: the stages that train and project then do not
depend on it (`machine.code`), and a changed score re-runs clustering alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from polca.tasks.settings import ClusteringSettings, TaskSettings, needs_curvature
from polca.tasks.transformer import ModelConfig, TokenLoss, initialize
from polca.typing import EigenvalueAt, SecondOrder, Strategy, TokenLossFunction

if TYPE_CHECKING:  # what scores clusters is no part of what trains a model
    from polca.method.clustering import Clusters
    from polca.method.decomposition import Trajectories
    from polca.method.projections import Projections

D = TypeVar("D", bound=np.generic)
Labels = Mapping[str, NDArray[Any]]
Tables = dict[str, pd.DataFrame]
BasisKind = Literal["hessian", "shuffled_hessian", "random", "lca"]
"""What `study.stages.basis.make_basis` can make."""


@dataclass(frozen=True)
class Analysis:
    """A row of Table 8: a strategy along a basis, and how it is clustered.

    Attributes:
        basis: None for trajectories of the exact loss, which need none.
        strategy: as in `decompose`.
        second_order, eigenvalue: form of eq. 4; None takes the preset's own.
    """

    basis: BasisKind | None
    strategy: Strategy
    second_order: SecondOrder | None = None
    eigenvalue: EigenvalueAt | None = None

    @property
    def needs_curvature(self) -> bool:
        """Whether its own form of eq. 4 asks for bᵀHb at every checkpoint."""
        return needs_curvature(self.second_order, self.eigenvalue)


@dataclass(frozen=True)
class Skill:
    """Labels of tokens, by which all vectors together are judged (`study.stages.signatures`).

    Attributes:
        values: `[X]`, of any kind.
        among: `[X]` which tokens are asked about.
        within: `[X]` what else is known of them: agreement beyond it is what labels add. None where nothing is.
    """

    values: NDArray[Any]
    among: NDArray[np.bool_]
    within: NDArray[Any] | None = None


class Task(Protocol):
    """A model, its data, and the labels by which its clusters are judged.

    Tokens are numbered sequence by sequence, x = sequence · targets + target, in every array of the package. Objects
    travel to worker processes, so they must be picklable.
    """

    @property
    def name(self) -> str:
        """Its section of `params.yaml`, and its folder below `runs/<preset>`."""

    @property
    def settings(self) -> TaskSettings:
        """Its parameters."""

    @property
    def analyses(self) -> Mapping[str, Analysis]:
        """What is made of its projections, by name."""

    @property
    def keep_graphs(self) -> bool:
        """Whether the Hessian sample's graphs fit into memory (`HessianOperator`)."""

    def clustering(self, analysis: str) -> ClusteringSettings:
        """How the trajectories of an analysis are clustered."""

    @property
    def token_loss(self) -> TokenLossFunction:
        """`(params, batch) → losses [sequences, targets]` of training and of the Hessian."""

    @property
    def evaluated_loss(self) -> TokenLossFunction:
        """The same of the evaluated tokens, which may be fewer."""

    def initial(self) -> dict[str, Tensor]:
        """θ_0, seeded."""

    def batch(self, update: int) -> Any:
        """Training data of one update, from its number alone."""

    @property
    def bases(self) -> Sequence[BasisKind]:
        """The bases that the analyses need."""

    def hessian_batches(self, examples: int | None = None) -> Sequence[Any]:
        """The Hessian sample in batches: the first `examples` training sequences, by default the preset's number."""

    def evaluation_batches(self) -> Sequence[Any]:
        """The evaluation sequences in batches."""

    def write_data(self) -> None:
        """Write what the task reads later: text, tokens. A task that draws its data anew each time has little to do."""

    def token_labels(self) -> Labels:
        """Labels of the X evaluated tokens, arrays `[X]` or `[X, …]` by name: skills, parts of speech."""

    def projection_facts(self, projections: "Mapping[str, Projections]") -> dict[str, Any]:
        """Numbers of its own about the projections, by basis, for `summary.json`."""

    def score_clusters(
        self, analysis: str, clusters: "Clusters", trajectories: "Trajectories", breaks: pd.DataFrame, labels: Labels
    ) -> Tables:
        """Tables of one analysis by name, `clusters` and `vectors` among them; `breaks` are its `breakthroughs`."""

    def cluster_counts(self, tables: Tables) -> dict[str, Any]:
        """Numbers of its own about the tables of all analyses, for `summary.json`."""

    def skills(self, labels: Labels) -> Mapping[str, Skill]:
        """Labels by which all vectors together are judged, by name; the tokens of the first one are mapped."""

    def probe_tables(self, analysis: str, trajectories: "Trajectories", loss: "Trajectories", labels: Labels) -> Tables:
        """Tables of its own about one analysis that need no clusters, by name; `loss` are the exact losses, K = 1."""


@dataclass(frozen=True)
class TransformerTask:
    """What tasks on the paper's transformer share (App. D).

    Attributes:
        settings: a preset's parameters.
        folder: where the task's data lie, `runs/<preset>/<task>/data`.
    """

    settings: TaskSettings
    folder: Path

    @property
    def name(self) -> str:
        """Its section of `params.yaml`."""
        raise NotImplementedError

    @property
    def analyses(self) -> Mapping[str, Analysis]:
        """What is made of its projections, by name."""
        raise NotImplementedError

    @property
    def bases(self) -> Sequence[BasisKind]:
        """Those of the analyses, in their order."""
        return list(dict.fromkeys(a.basis for a in self.analyses.values() if a.basis is not None))

    @property
    def keep_graphs(self) -> bool:
        """They fit."""
        return True

    @property
    def length(self) -> int:
        """Tokens that the model reads of a sequence."""
        return self.model().context

    @property
    def evaluation_sequences(self) -> int:
        """How many sequences are evaluated."""
        return sum(len(inputs) for inputs, _ in self.evaluation_batches())

    def clustering(self, analysis: str) -> ClusteringSettings:
        """The preset's own."""
        return self.settings.clustering

    def model(self, evaluated: bool = False) -> ModelConfig:
        """The model; with `evaluated` only the evaluated places predict."""
        raise NotImplementedError

    @property
    def token_loss(self) -> TokenLoss:
        """Cross-entropy of every target, in nats."""
        return TokenLoss(self.model())

    @property
    def evaluated_loss(self) -> TokenLoss:
        """Cross-entropy of the evaluated targets, in nats."""
        return TokenLoss(self.model(evaluated=True))

    def initial(self) -> dict[str, Tensor]:
        """θ_0 by TransformerLens' default."""
        return initialize(self.model(), self.settings.seed)

    def batch(self, update: int) -> tuple[Tensor, Tensor]:
        """Inputs `[N, T]` and targets `[N, targets]` of one update."""
        raise NotImplementedError

    def evaluation_batches(self) -> list[tuple[Tensor, Tensor]]:
        """The same of the evaluation sequences."""
        raise NotImplementedError

    def hessian_batches(self, examples: int | None = None) -> list[tuple[Tensor, Tensor]]:
        """The first training sequences, whole batches of them."""
        wanted, size = examples or self.settings.basis.hessian_examples, self.settings.training.batch_size
        return [self.batch(update) for update in range(-(-wanted // size))]

    def write_data(self) -> None:
        """Nothing: the data are drawn when they are needed."""

    def projection_facts(self, projections: "Mapping[str, Projections]") -> dict[str, Any]:
        """None of its own."""
        return {}

    def score_clusters(
        self, analysis: str, clusters: "Clusters", trajectories: "Trajectories", breaks: pd.DataFrame, labels: Labels
    ) -> Tables:
        """What the clusters are; `labels` has the names `[X]` of the tokens under `name`."""
        from polca.tasks.scores import plain_tables

        return plain_tables(analysis, clusters, breaks, labels["name"])

    def cluster_counts(self, tables: Tables) -> dict[str, Any]:
        """None of its own."""
        return {}

    def skills(self, labels: Labels) -> Mapping[str, Skill]:
        """The names of the tokens."""
        return {"name": Skill(labels["name"], np.ones(len(labels["name"]), np.bool_))}

    def probe_tables(self, analysis: str, trajectories: "Trajectories", loss: "Trajectories", labels: Labels) -> Tables:
        """None of its own."""
        return {}


def in_batches(sequences: NDArray[D], size: int) -> list[NDArray[D]]:
    """Rows `[N, …]` in parts of at most `size`."""
    return [sequences[i : i + size] for i in range(0, len(sequences), size)]
