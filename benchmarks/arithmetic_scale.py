"""At what scale does the paper's effect survive? The grid from which the laptop preset's width and rate were chosen.

For each candidate: train, Hessian basis, projections of 192 additions (768 tokens); then, for several intervals and
numbers of vectors, how well the projected loss tells carries apart (the best AUC over vectors, within each place) and
how much of the true loss change the allocations add up to. AUC asks whether a direction separates the skill before
HDBSCAN comes in, so it is a sharper instrument for choosing a scale than the best cluster's homogeneity.

    python benchmarks/arithmetic_scale.py FOLDER        # keeps what it computes there, and goes on from it

Writes arithmetic_scale.csv beside itself. About an hour on two cores from nothing.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import polca  # noqa: F401  isort: skip  (pins the environment before NumPy and PyTorch load)

import numpy as np
import pandas as pd
import typer

from polca.machine.files import write_csv
from polca.machine.runtime import configure_torch
from polca.method.bases import Basis, hessian_basis
from polca.method.checkpoints import CheckpointDirectory, select_steps
from polca.method.completeness import completeness
from polca.method.decomposition import decompose
from polca.method.projections import Projections, project
from polca.tasks.arithmetic.data import batch, make_data, model_config
from polca.tasks.arithmetic.labels import PLACES, carry_labels, place_labels
from polca.tasks.arithmetic.scores import auc
from polca.tasks.settings import TrainingSettings
from polca.tasks.training import train
from polca.tasks.transformer import TokenLoss, initialize

BATCH, SEQUENCES, HESSIAN_EXAMPLES, INTERVAL = 64, 192, 120, 20
EVALUATION_POOL = 1250
"""The first 192 of the published number of evaluation additions, so that every candidate is scored on the same."""


@dataclass(frozen=True)
class Candidate:
    """A scale: model width, learning rate, steps, number of basis vectors (evenly spread)."""

    name: str
    width: int
    rate: float
    steps: int
    vectors: int


CANDIDATES = (
    Candidate("w512", 512, 1e-5, 1400, 7),
    Candidate("w256_2e5", 256, 2e-5, 2000, 10),
    Candidate("w256_5e5", 256, 5e-5, 2000, 10),
    Candidate("w128_4e5", 128, 4e-5, 2000, 10),
)


def projections_of(candidate: Candidate, folder: Path) -> Projections:
    """Train, find the basis and project, or read what an earlier run left."""
    config = model_config(3, candidate.width, 4, 4 * candidate.width)
    loss, data = TokenLoss(config), make_data(candidate.steps * BATCH, EVALUATION_POOL, 0)
    checkpoints = CheckpointDirectory(folder / "ck")
    if not checkpoints.path(candidate.steps).is_file():
        settings = TrainingSettings(
            steps=candidate.steps, batch_size=BATCH, learning_rate=candidate.rate, checkpoint_interval=INTERVAL
        )
        train(
            loss,
            initialize(config, 0),
            lambda step: batch(data.training[step * BATCH : (step + 1) * BATCH]),
            settings,
            checkpoints,
            folder / "resume",
            candidate.name,
        )
    if not (folder / "basis.safetensors").is_file():
        spacing = candidate.steps // candidate.vectors
        steps = [spacing * (i + 1) for i in range(candidate.vectors)]
        sample = [batch(data.training[:HESSIAN_EXAMPLES])]
        hessian_basis(loss, checkpoints, sample, steps=steps, tolerance=1e-2).save(folder / "basis.safetensors")
    if not (folder / "projections.npz").is_file():
        tokens = data.evaluation[:SEQUENCES]
        project(
            loss,
            checkpoints,
            Basis.load(folder / "basis.safetensors"),
            [batch(tokens[i : i + BATCH]) for i in range(0, SEQUENCES, BATCH)],
            steps=select_steps(checkpoints.steps(), INTERVAL),
            method="backward",
            workers=2,
            resume=folder / "partial",
        ).save(folder / "projections.npz")
    return Projections.load(folder / "projections.npz")


def coarser(p: Projections, factor: int, vectors: int) -> Projections:
    """Every `factor`-th checkpoint and the first `vectors` vectors: as if projected so."""
    last = (len(p.steps) - 1) // factor * factor
    keep = slice(0, last + 1, factor)
    moved = p.movements[:last, :vectors].reshape(-1, factor, vectors).sum(1)
    return replace(
        p,
        steps=p.steps[keep],
        losses=p.losses[keep],
        gradients=p.gradients[keep, :, :vectors],
        movements=moved,
        vector_steps=p.vector_steps[:vectors],
        eigenvalues=p.eigenvalues[:vectors],
    )


def rows(candidate: Candidate, p: Projections) -> list[dict[str, object]]:
    """One row an interval, number of vectors and form of the second-order term."""
    tokens = make_data(candidate.steps * BATCH, EVALUATION_POOL, 0).evaluation[:SEQUENCES]
    place, carry = place_labels(tokens), carry_labels(tokens)
    found: list[dict[str, object]] = []
    for factor in (1, 2, 4):
        for vectors in sorted({candidate.vectors // 2, candidate.vectors}):
            part = coarser(p, factor, vectors)
            for form in ("none", "paper", "trapezoid"):
                last = decompose(part, "polca", form).values[:, :, -1]
                whole = completeness(part, form)
                best = {
                    f"best_auc_{name}": max(auc(v[place == i], carry[place == i]) for v in last)
                    for i, name in enumerate(PLACES[:3])
                }
                found.append(
                    {
                        "width": candidate.width,
                        "learning_rate": candidate.rate,
                        "steps": candidate.steps,
                        "interval": INTERVAL * factor,
                        "vectors": vectors,
                        "second_order": form,
                        **best,
                        "vectors_rising": int((last.mean(axis=1) > 0).sum()),
                        "true_change": whole.total_actual,
                        "completeness": whole.fraction,
                        "final_loss": float(np.mean(p.losses[-1], dtype=np.float64)),
                    }
                )
    return found


def main(folder: Annotated[Path, typer.Argument(help="Where to keep checkpoints (3 GB).")]) -> None:
    """Compute what is missing and write the table."""
    configure_torch()
    table = [row for c in CANDIDATES for row in rows(c, projections_of(c, folder / c.name))]
    write_csv(Path(__file__).with_suffix(".csv"), pd.DataFrame(table))


if __name__ == "__main__":
    typer.run(main)
