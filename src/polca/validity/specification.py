"""Every way at once of reading what the paper leaves open, with all else as published: one cell for each combination.

The published score is the best of many clusters, found by settings that were chosen for it. A *specification curve*
shows the same score for every cell, sorted, beside what the exact loss and chance give. Not in the paper.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.machine.files import stacked
from polca.machine.progress import progress
from polca.method.breakthrough import flat_step
from polca.method.clustering import (
    RISING,
    VECTOR_DROPPED,
    memberships,
    rising_tokens,
    rising_vectors,
    standardised,
)
from polca.method.decomposition import FORMS, Trajectories, decompose, forms_of
from polca.method.densities import Densities
from polca.method.projections import Projections, thin
from polca.tasks.arithmetic.scores import match_carries
from polca.tasks.settings import ClusteringSettings, TaskSettings
from polca.tasks.task import Labels
from polca.typing import Reading
from polca.validity.permutation import Clustered, best_row, clustered_curves, hidden_share
from polca.validity.settings import SpecificationSettings

MinSamples = Literal["left", "all"]
"""Which tokens n are in min_samples = n/15: those left by the filter, or all."""

FACTORS = ("form", "reading", "interval", "length", "min_samples")
"""Columns that name a cell."""
LEAST_POINTS = 3
"""Of a trajectory: fewer have no second difference, and hardly a shape."""


@dataclass(frozen=True)
class Source:
    """What the cells of one interval are made of.

    Attributes:
        interval: training steps from point to point.
        forms: projected losses by form of the second-order term.
        loss: the exact loss at the same steps, K = 1.
    """

    interval: int
    forms: Mapping[str, Trajectories]
    loss: Trajectories


def with_curvature(p: Projections, coarse: Projections | None) -> Projections:
    """`p` with the curvature of `coarse`, where both are on the same grid and `p` has less."""
    if coarse is None or "exact" in forms_of(p) or not np.array_equal(p.steps, coarse.steps):
        return p
    return replace(p, curvatures=coarse.curvatures, token_curvatures=coarse.token_curvatures)


def sources_of_projections(grids: Sequence[Projections]) -> Iterator[Source]:
    """All forms that the projections allow, decomposed anew on each grid."""
    for p in grids:
        forms = {name: decompose(p, "polca", *form) for name, form in forms_of(p).items()}
        yield Source(int(p.steps[1] - p.steps[0]), forms, decompose(p, "loss"))


def sources_of_trajectories(
    forms: Mapping[str, Trajectories], loss: Trajectories, factors: tuple[int, ...]
) -> Iterator[Source]:
    """Where only trajectories were kept: every first, fifth, … point of them.

    The allocations are then still those of the fine interval; the thinning is only of what HDBSCAN sees.

    Raises:
        PolcaError: forms with other steps than the loss, or a thinning that misses the end.
    """
    steps = loss.steps
    if odd := [name for name, t in forms.items() if not np.array_equal(t.steps, steps)]:
        raise PolcaError(f"specification: form {odd[0]!r} has other steps than the loss: decompose again")
    for factor in factors:
        if (len(steps) - 1) % factor:
            raise PolcaError(f"validity.specification.thinning = {factor}: does not divide {len(steps) - 1} intervals")

        def thinned(t: Trajectories, every: int = factor) -> Trajectories:
            return replace(t, values=t.values[:, :, ::every], steps=t.steps[::every])

        interval = factor * int(steps[1] - steps[0])
        yield Source(interval, {name: thinned(t) for name, t in forms.items()}, thinned(loss))


def kept_points(steps: NDArray[np.integer], length: float) -> int:
    """How many of the steps lie in the first part of the training, its end included."""
    return int((steps <= length * float(steps[-1]) * (1 + 1e-9)).sum())


def first_part(t: Trajectories, length: float) -> Trajectories:
    """The trajectories up to a share of the training, as the paper's plots are cut; the filters then see no more."""
    kept = kept_points(t.steps, length)
    return replace(t, values=t.values[:, :, :kept], steps=t.steps[:kept])


def partitions(t: Trajectories, reading: Reading, sizes: ClusteringSettings) -> dict[MinSamples, NDArray[np.int64]]:
    """Labels `[K, X]` as in `Clusters`, for both ways to count min_samples, which share distances.

    Projected losses are filtered, other trajectories are not; of those both ways are the same.
    """
    vectors, tokens, _ = t.values.shape
    found = {base: np.full((vectors, tokens), VECTOR_DROPPED, np.int64) for base in get_args(MinSamples)}
    kept = ~rising_vectors(t.values) if t.projected else np.ones(vectors, np.bool_)
    for k in np.flatnonzero(kept):
        left = np.flatnonzero(~rising_tokens(t.values[k])) if t.projected else np.arange(tokens)
        rows = t.values[k, left]
        densities = Densities(standardised(rows) if reading == "standardised" else rows)
        counts = {"left": len(left), "all": tokens}
        samples = {base: max(1, counts[base] // sizes.min_samples_divisor) for base in found}
        made = {n: densities.labels(sizes.min_cluster_size, n) for n in set(samples.values())}
        for base, labels in found.items():
            labels[k] = RISING
            labels[k, left] = made[samples[base]]
    return found


def best_cluster(labels: NDArray[np.integer], place: NDArray[np.integer], carry: NDArray[np.bool_]) -> dict[str, Any]:
    """The eligible cluster of highest homogeneity of all vectors, with ties as in `scores.best_clusters`.

    Returns:
        homogeneity, recall, size, vector (from 1); homogeneity 0 and the others missing where none is eligible.
    """
    inside, vectors = memberships(labels)
    matched = match_carries(inside, place[None], carry[None])
    homogeneity, recall = matched.homogeneity[:, 0], matched.recall(vectors)[:, 0]
    eligible = np.flatnonzero(matched.eligible[:, 0])
    if not len(eligible):
        return {"homogeneity": 0.0, "recall": float("nan"), "size": pd.NA, "vector": pd.NA}
    first = eligible[np.lexsort((-recall[eligible], -homogeneity[eligible]))[0]]
    return {
        "homogeneity": float(homogeneity[first]),
        "recall": float(recall[first]),
        "size": int(matched.sizes[first]),
        "vector": int(vectors[first]) + 1,
    }


def _hidden(t: Trajectories, labels: NDArray[np.integer], delta: int, tau: int) -> float:
    """Fraction of clusters with a hidden breakthrough; NaN without clusters, or where Δ is too long for the points."""
    interval = int(t.steps[1] - t.steps[0])
    if len(t.steps) < 2 * (delta // interval) + 1:
        return float("nan")
    return hidden_share(clustered_curves(t.values, labels), t.steps, delta=delta, flat_step=tau)


def of_all_seeds(own: pd.DataFrame, seeds: pd.DataFrame) -> pd.DataFrame:
    """The cells of a preset's own seed, on its own grid, and those of the further seeds, on theirs."""
    return stacked(own, seeds[~seeds["seed"].isin(own["seed"])])


@dataclass(frozen=True)
class Grid:
    """The grid of one run: its skills, and what is as published in every cell.

    Attributes:
        place, carry: `[X]` skills.
        task: HDBSCAN's sizes, τ's rule and Δ; the seed, which is also that of the permutations.
        grid: thinnings, lengths and permutations.
    """

    place: NDArray[np.integer]
    carry: NDArray[np.bool_]
    task: TaskSettings
    grid: SpecificationSettings

    @classmethod
    def of(cls, labels: Labels, task: TaskSettings, grid: SpecificationSettings) -> "Grid":
        """With the labels of the arithmetic task."""
        return cls(labels["place"], labels["carry"].astype(np.bool_), task, grid)

    def of_projections(self, p: Projections, coarse: Projections | None = None) -> pd.DataFrame:
        """`table` for all forms that the projections allow.

        Args:
            coarse: projections of the same run on a longer interval, with the curvature that `p` lacks: the forms that
                need it then have cells on that interval.

        Raises:
            PolcaError: an interval that does not divide the training.
        """
        own, name = int(p.steps[1] - p.steps[0]), "validity.specification.thinning × interval"
        grids = [with_curvature(thin(p, factor * own, name), coarse) for factor in self.grid.thinning]
        forms = sum(len(forms_of(grid)) for grid in grids)
        return self._table(sources_of_projections(grids), p.losses, p.steps, forms)

    def of_trajectories(self, forms: Mapping[str, Trajectories], loss: Trajectories) -> pd.DataFrame:
        """`table` for forms whose trajectories were kept.

        Args:
            forms: by their names in `decomposition.FORMS`.
            loss: the exact loss, K = 1.
        """
        made = sources_of_trajectories(forms, loss, self.grid.thinning)
        return self._table(made, loss.values[0].T, loss.steps, len(forms) * len(self.grid.thinning))

    def _table(
        self, sources: Iterator[Source], losses: NDArray[np.floating], steps: NDArray[np.integer], forms: int
    ) -> pd.DataFrame:
        """One row a cell.

        Args:
            forms: of all sources together.

        Returns:
            seed; the cell: form, reading, interval (steps), length (share of the training), min_samples; last_step and
            points that this leaves; vectors_kept, clusters, vectors_with_clusters; homogeneity, recall, size and
            vector of `best_cluster`; hidden, by eq. 9 as printed with the run's own τ (`flat_step`) and Δ rounded up
            to the interval (`delta`); loss_homogeneity, the same of the exact loss; null_mean, null_95, p_value and
            eligible_draws of the best homogeneity when carries are permuted within places
            (`permutation.best_row`), and permutations.
        """
        grid, readings, sizes = self.grid, get_args(Reading), self.task.clustering
        for factor, length in product(grid.thinning, grid.length):
            if (points := kept_points(steps[::factor], length)) < LEAST_POINTS:
                raise PolcaError(
                    f"validity.specification: thinning {factor} leaves {points} points in {length:g} of the training: "
                    "thin less"
                )
        tau = flat_step(losses, steps, self.task.breakthroughs.fall)
        rows: list[dict[str, Any]] = []
        with progress("specifications", len(grid.length) * len(readings) * forms) as bar:
            for source in sources:
                for length, reading in product(grid.length, readings):
                    by_loss = partitions(first_part(source.loss, length), reading, sizes)["all"]
                    reference = best_cluster(by_loss, self.place, self.carry)["homogeneity"]
                    for form, whole in source.forms.items():
                        t = first_part(whole, length)
                        for base, labels in partitions(t, reading, sizes).items():
                            cell = dict(zip(FACTORS, (form, reading, source.interval, length, base), strict=True))
                            of_cell = self._measures(t, labels, source.interval, tau)
                            rows.append({**cell, **of_cell, "loss_homogeneity": reference})
                        bar.advance()
        order = {name: i for i, name in enumerate(FORMS)}
        table = pd.DataFrame(rows).sort_values("form", key=lambda c: c.map(order), kind="stable", ignore_index=True)
        table.insert(0, "seed", self.task.seed)
        return table.astype({"size": "Int64", "vector": "Int64"})

    def _measures(self, t: Trajectories, labels: NDArray[np.integer], interval: int, tau: int) -> dict[str, Any]:
        """What the clusters of one cell are, and what chance would give."""
        delta = -(-self.task.breakthroughs.delta // interval) * interval
        _, vectors = memberships(labels)
        # The same draws for every cell: they differ in clusters alone.
        rng = np.random.default_rng(self.task.seed)
        study = Clustered(t, labels, self.place, self.carry)
        null = best_row(study.swap_skills(self.grid.permutations, rng, within_place=True))
        return {
            "last_step": int(t.steps[-1]),
            "points": len(t.steps),
            "vectors_kept": int((labels != VECTOR_DROPPED).any(axis=1).sum()),
            "clusters": len(vectors),
            "vectors_with_clusters": len(np.unique(vectors)),
            **best_cluster(labels, self.place, self.carry),
            "hidden": _hidden(t, labels, delta, tau),
            "flat_step": tau,
            "delta": delta,
            **{name: null[name] for name in ("null_mean", "null_95", "p_value", "eligible_draws", "permutations")},
        }
