"""What the clusters of a run at the published scale say, in both readings."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, get_args

import numpy as np
import pandas as pd

from polca.machine.files import stacked
from polca.method.breakthrough import hidden_fraction
from polca.method.completeness import compare_trajectories
from polca.method.decomposition import Trajectories
from polca.study.paths import TaskPaths
from polca.study.published import PublishedScale
from polca.study.readings import Evidence, evidence_table
from polca.study.results import read_table
from polca.study.stages.cluster import ExactLosses
from polca.study.stages.signatures import change_of
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.arithmetic.scores import SCORES, three_best
from polca.tasks.arithmetic.task import ArithmeticTask
from polca.tasks.task import Labels
from polca.typing import Reading
from polca.validity.settings import SpecificationSettings
from polca.validity.specification import Grid

FORMS = {"none": "polca_first_order", "trapezoid": "polca"}
"""Forms of the specifications, and the analyses that hold their trajectories."""
_HIDDEN = ("hidden", "hidden_onset", "hidden_published")


@dataclass(frozen=True)
class Run:
    """A run with the settings by which it is judged.

    Attributes:
        run: as it was kept.
        task: of the published scale; its HDBSCAN, τ and Δ are taken, its training is not run.
    """

    run: PublishedScale
    task: ArithmeticTask

    @property
    def labels(self) -> Labels:
        """Skills of the evaluation tokens."""
        return {"tokens": self.run.tokens, "place": self.run.place, "carry": self.run.carry}

    @property
    def losses(self) -> ExactLosses:
        """The exact losses."""
        return ExactLosses(self.run.steps, self.run.losses)

    @property
    def analyses(self) -> list[str]:
        """Those that were kept, and the exact loss and its change."""
        return [*self.run.archives, "loss", "loss_change"]

    def trajectories(self, analyses: Iterable[str]) -> dict[str, Trajectories]:
        """Of some of `analyses`; all together can fill gigabytes."""
        values = np.ascontiguousarray(self.run.losses.T[None])
        loss = Trajectories("loss", values, self.run.steps, projected=False)
        exact = {"loss": loss, "loss_change": change_of(loss)}
        return {name: exact.get(name) or self.run.archives[name].trajectories() for name in analyses}


def in_both_readings(out: TaskPaths, name: str, analyses: Sequence[str]) -> pd.DataFrame:
    """A table of the clusters of both readings, with a column `reading`; the analyses named come first, in this order.

    Raises:
        PolcaError: missing or damaged.
    """
    parts = []
    for reading in get_args(Reading):
        rows = read_table(out.of_reading(reading).table(name))
        rows.insert(0, "reading", reading)
        order = dict.fromkeys((*analyses, *rows["analysis"]))
        parts += [rows[rows["analysis"] == analysis] for analysis in order]
    return stacked(*parts)


def best_table(clusters: pd.DataFrame, vectors: pd.DataFrame) -> pd.DataFrame:
    """One row an analysis and reading.

    Returns:
        reading, analysis; vectors, kept, with_clusters, clusters; the best eligible clusters of the three best vectors
        (vector_1, homogeneity_1, recall_1, f1_1, size_1, …), empty where there are fewer; fractions of clusters that
        have a hidden breakthrough, by eq. 9 as printed, by its onset, and by the published constants; auc_<place>, the
        best kept vector's AUC of carries.
    """
    rows: list[dict[str, Any]] = []
    for (reading, analysis), own in vectors.groupby(["reading", "analysis"], sort=False):
        mine = clusters[clusters["reading"] == reading]
        kept = own[own["kept"].astype(bool)]
        row: dict[str, Any] = {
            "reading": reading,
            "analysis": analysis,
            "vectors": len(own),
            "kept": len(kept),
            "with_clusters": int((kept["n_clusters"] > 0).sum()),
            "clusters": int(own["n_clusters"].sum()),
        }
        best = three_best(mine, str(analysis)).set_index("rank").reindex(range(1, 4))
        for rank, found in best.iterrows():
            row |= {f"{name}_{rank}": found[name] for name in ("vector", *SCORES, "size")}
        row |= {name: hidden_fraction(mine, str(analysis), name)[0] for name in _HIDDEN}
        row |= {f"auc_{place}": float(kept[f"auc_{place}"].max()) for place in PLACES[:3]}
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.astype({name: "Int64" for name in table if str(name).startswith(("vector_", "size_"))})


def readings_table(
    run: Run,
    tables: Mapping[str, pd.DataFrame],
    trajectories: Mapping[str, Trajectories],
    published: Mapping[str, Any],
) -> pd.DataFrame:
    """Evidence for readings (`study.readings`), with the compositions of Figure 4.

    Args:
        tables: `clusters` and `vectors`, by `in_both_readings`.
        trajectories: of the analyses in `FORMS`.
        published: `data/published.yaml`.
    """
    evidence, rows = Evidence("arithmetic", published), []
    for reading in get_args(Reading):
        clusters, vectors = (tables[n][tables[n]["reading"] == reading] for n in ("clusters", "vectors"))
        rows += evidence.of_vectors(vectors, len(run.run.place), reading)
        rows += evidence.of_compositions(clusters, reading)
    orders = compare_trajectories(*(trajectories[FORMS[form]] for form in ("none", "trapezoid")))
    return evidence_table(rows + evidence.of_orders(asdict(orders)))


def specification_parts(grid: SpecificationSettings) -> dict[str, SpecificationSettings]:
    """The grid cut by thinning and length, for several processes: the specifications of a part share their losses."""
    return {
        f"{thinning}_{length:g}": grid.changed(thinning=(thinning,), length=(length,))
        for thinning, length in product(grid.thinning, grid.length)
    }


def specification_table(
    run: Run, trajectories: Mapping[str, Trajectories], grid: SpecificationSettings
) -> pd.DataFrame:
    """The grid of specifications (`specification.Grid`), or a part of it."""
    forms = {form: trajectories[name] for form, name in FORMS.items()}
    return Grid.of(run.labels, run.task.settings, grid).of_trajectories(forms, trajectories["loss"])
