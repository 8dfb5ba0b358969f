"""The arithmetic setting (§4): three-digit additions, judged by digit and carry."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import Tensor

from polca.machine.files import write_npz
from polca.tasks.arithmetic.data import CONTEXT, ArithmeticData, batch, make_data, model_config
from polca.tasks.settings import Count, Section, TaskSettings
from polca.tasks.task import Analysis, Labels, Skill, Tables, TransformerTask, in_batches
from polca.tasks.transformer import ModelConfig, parameter_count

if TYPE_CHECKING:
    from polca.method.clustering import Clusters
    from polca.method.decomposition import Trajectories
    from polca.method.projections import Projections

ANALYSES: Mapping[str, Analysis] = {
    "loss": Analysis(None, "loss"),
    "loss_change": Analysis(None, "loss_change"),
    "fisher": Analysis("hessian", "fisher"),
    "lca": Analysis("lca", "lca"),
    "polca_first_order": Analysis("hessian", "polca_first_order"),
    "polca": Analysis("hessian", "polca"),
    "polca_random": Analysis("random", "polca"),
    "polca_shuffled_hessian": Analysis("shuffled_hessian", "polca"),
    "polca_paper": Analysis("hessian", "polca", "paper", "basis"),
    "polca_paper_current": Analysis("hessian", "polca", "paper", "current"),
    "polca_exact": Analysis("hessian", "polca", "exact", "basis"),
}
"""Tables 8–11, and POLCA with the other forms of its second-order term; a task has the last two where its settings give
the exact curvature at every point (`polca.curvature_points`)."""


class DataSettings(Section):
    """Additions that are evaluated, four output tokens each."""

    evaluation_examples: Count


class LabelSettings(Section):
    """Place and carry follow from the digits: there is nothing to choose."""


class ArithmeticSettings(TaskSettings):
    """Everything that the arithmetic setting takes from `params.yaml`."""

    data: DataSettings
    labels: LabelSettings = LabelSettings()


@dataclass(frozen=True)
class ArithmeticTask(TransformerTask):
    """Additions `ddd+ddd=dddd`; the four output digits are scored.

    Raises:
        PolcaError: more examples are asked for than there are pairs of summands, or curvature of another basis.
    """

    settings: ArithmeticSettings

    def __post_init__(self) -> None:
        self.settings.check_curvature(self.name, ("hessian", "shuffled_hessian", "random"))

    @property
    def name(self) -> str:
        """`arithmetic`."""
        return "arithmetic"

    @property
    def analyses(self) -> Mapping[str, Analysis]:
        """Those of `ANALYSES` for which there is curvature enough."""
        everywhere = self.settings.curved_everywhere
        return {name: a for name, a in ANALYSES.items() if not a.needs_curvature or everywhere(a.basis)}

    @cached_property
    def data(self) -> ArithmeticData:
        """The examples; the Hessian sample is the first of the training part."""
        training = self.settings.training
        examples = self.settings.data.evaluation_examples
        return make_data(training.steps * training.batch_size, examples, self.settings.seed)

    @property
    def length(self) -> int:
        """All tokens but the last, which is only ever a target."""
        return CONTEXT - 1

    @property
    def evaluation_sequences(self) -> int:
        """The evaluation additions."""
        return self.settings.data.evaluation_examples

    def model(self, evaluated: bool = False) -> ModelConfig:
        """The model: every output digit is trained and evaluated."""
        sizes = self.settings.model
        return model_config(sizes.layers, sizes.width, sizes.heads, sizes.mlp_width)

    def batch(self, update: int) -> tuple[Tensor, Tensor]:
        """Additions of one update; no pair of summands comes twice."""
        size = self.settings.training.batch_size
        return batch(self.data.training[update * size : (update + 1) * size])

    def hessian_batches(self, examples: int | None = None) -> list[tuple[Tensor, Tensor]]:
        """The first training additions, in one batch."""
        return [batch(self.data.training[: examples or self.settings.basis.hessian_examples])]

    def evaluation_batches(self) -> list[tuple[Tensor, Tensor]]:
        """The evaluation additions."""
        return [batch(part) for part in in_batches(self.data.evaluation, self.settings.polca.batch_sequences)]

    def write_data(self) -> None:
        """Write the evaluation additions, for those who want to read them."""
        write_npz(self.folder / "evaluation.npz", {"tokens": self.data.evaluation})

    def token_labels(self) -> Labels:
        """`place [X]`, index into `PLACES`, and `carry [X]`, beside the additions themselves, `tokens [S, 12]`."""
        from polca.tasks.arithmetic.labels import carry_labels, place_labels

        tokens = self.data.evaluation
        return {"tokens": tokens, "place": place_labels(tokens), "carry": carry_labels(tokens)}

    def projection_facts(self, projections: "Mapping[str, Projections]") -> dict[str, Any]:
        """Table 12, App. C, and how much of the loss change each basis and form allocates."""
        from polca.tasks.arithmetic.facts import facts

        return {"parameters": parameter_count(self.model()), **facts(projections, self.settings.polca)}

    def score_clusters(
        self, analysis: str, clusters: "Clusters", trajectories: "Trajectories", breaks: pd.DataFrame, labels: Labels
    ) -> Tables:
        """How clusters and vectors match digit and carry (Tables 8–11)."""
        from polca.tasks.arithmetic.scores import score_tables

        return score_tables(analysis, clusters, trajectories, breaks, labels["place"], labels["carry"].astype(bool))

    def skills(self, labels: Labels) -> Mapping[str, Skill]:
        """Digit to be written, place, and carry."""
        from polca.tasks.arithmetic.probes import skills

        return skills(labels)

    def probe_tables(self, analysis: str, trajectories: "Trajectories", loss: "Trajectories", labels: Labels) -> Tables:
        """Probes for carry, and when along training it shows."""
        from polca.tasks.arithmetic.probes import probe_tables

        return probe_tables(analysis, trajectories, loss, labels)
