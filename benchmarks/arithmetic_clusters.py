"""Why does POLCA find no cluster of 10s or 100s carries in the laptop run? HDBSCAN's settings, varied one grid deep.

Reads the projections that `make repro` left in runs/laptop. For each form of the second-order term and each pair of
HDBSCAN settings: the best eligible cluster (as in Table 8), the purest cluster of any carries, and the share of tokens
left as outliers. The first row of each form has the preset's own.

    python benchmarks/arithmetic_clusters.py

Writes arithmetic_clusters.csv beside itself. A minute on one core.
"""

from pathlib import Path
from typing import Any

import polca  # isort: skip  (pins the environment before NumPy and PyTorch load)

import pandas as pd
import typer

from polca.machine.files import read_npz, write_csv
from polca.method.decomposition import forms_of
from polca.method.projections import Projections
from polca.study.paths import PresetPaths
from polca.study.settings import Preset
from polca.tasks.arithmetic.labels import EVALUATION_FORM
from polca.tasks.arithmetic.scores import best_clusters, cluster_scores

FORMS: tuple[Any, ...] = ("none", "trapezoid", "exact", "paper")
DIVISORS = (15, 30, 60, 120)


def main() -> None:
    """Vary and write the table."""
    preset = Preset.read(PresetPaths.named("laptop"))
    out, own = preset.paths.task("arithmetic"), preset.arithmetic().settings.clustering.min_cluster_size
    projections, labels = Projections.load(out.projection("hessian")), read_npz(out.labels, EVALUATION_FORM)
    place, carry = labels["place"], labels["carry"].astype(bool)
    rows: list[dict[str, object]] = []
    for form in [form for form in FORMS if form in forms_of(projections)]:
        trajectories = polca.decompose(projections, second_order=form)
        for size in (own, own // 2):
            for divisor in DIVISORS:
                clusters = polca.cluster(trajectories, min_cluster_size=size, min_samples_divisor=divisor)
                table = cluster_scores(clusters, place, carry, "polca")
                eligible, pure = best_clusters(table, "polca"), table.sort_values("homogeneity", ascending=False)
                row: dict[str, object] = {
                    "second_order": form,
                    "min_cluster_size": size,
                    "min_samples_divisor": divisor,
                    "vectors_kept": int(clusters.vector_kept.sum()),
                    "clusters": len(clusters),
                    "outliers": float((clusters.labels == -1).sum() / (clusters.labels >= -1).sum()),
                }
                for name, best in (("eligible", eligible), ("any", pure)):
                    for column in ("homogeneity", "recall", "size", "vector"):
                        row[f"best_{name}_{column}"] = best[column].iloc[0] if len(best) else float("nan")
                rows.append(row)
    write_csv(Path(__file__).with_suffix(".csv"), pd.DataFrame(rows))


if __name__ == "__main__":
    typer.run(main)
