"""Made-up but plausible result files of the arithmetic setting: sigmoids, and clusters that follow them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.machine.files import write_csv, write_json, write_npz
from polca.study.paths import TaskPaths
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.arithmetic.probes import skills
from polca.tasks.arithmetic.scores import ANALYSES
from polca.typing import Reading
from synthetic_signatures import write_signatures

READINGS: tuple[Reading, ...] = get_args(Reading)

STABLE_ANALYSES = ("polca_first_order", "polca", "polca_random", "polca_shuffled_hessian")
"""Analyses that were clustered again for the stability of their labels; the others have none."""

SUMMARY: dict[str, Any] = {
    "parameters": 26442,
    "tokens": 1000,
    "checkpoints": 101,
    "vectors": 5,
    "flat_step": 1000,
    "delta": 100,
    "published_flat_step_fall": 0.91234567,
    "second_order": "paper",
    "eigenvalue": "basis",
    "loss_first": 2.71828182846,
    "loss_last": 0.41421356237,
    "loss_last_by_place": {"1000s": 0.04, "100s": 0.2, "10s": 0.8, "1s": 0.7},
    "table_12": {"cosine_similarity": 0.99871, "l2_norm": 0.00123, "relative_l2_norm": 0.02},
    "app_c": {
        **{f"rmse_{form}_{part}": 0.21 for form in ("paper", "trapezoid") for part in ("published_subset", "all")},
        **{f"{name}_{part}": 1000 for name in ("rms_exact", "terms") for part in ("published_subset", "all")},
    },
    "completeness": {
        form: {"fraction": 0.05, "allocated": -0.13, "relative_residual": 1.01, "correlation": None}
        for form in ("none", "paper", "trapezoid", "exact")
    },
    "guarded": {"polca": 3},
}

# Step at which half is learnt, width of the drop, and remaining loss, by (place, carry).
LEARNT = {
    (0, True): (450, 90, 0.05),
    (0, False): (330, 70, 0.02),
    (1, True): (1900, 260, 0.25),
    (1, False): (1300, 240, 0.15),
    (2, True): (3100, 420, 0.9),
    (2, False): (2400, 380, 0.6),
    (3, False): (3500, 500, 0.7),
}


def params(**changes: Any) -> dict[str, Any]:
    """Parameters of a preset, in the form of `params.yaml`; `plots` can be replaced."""
    return {
        "preset": {"name": "synthetic", "description": "made up", "root": ".", "params": "params.yaml"},
        "tasks": {"arithmetic": {"data": "requirements.lock", "labels": "requirements.lock"}},
        "arithmetic": {
            "seed": 0,
            "model": {"layers": 2, "width": 32, "heads": 4, "mlp_width": 128},
            "data": {"evaluation_examples": 250},
            "training": {
                "steps": 5000,
                "batch_size": 64,
                "learning_rate": 1e-5,
                "warmup_steps": 100,
                "betas": [0.9, 0.95],
                "weight_decay": 0.1,
                "checkpoint_interval": 50,
            },
            "basis": {
                "interval": 400,
                "vectors": 5,
                "per_step": 1,
                "hessian_examples": 250,
                "tolerance": 0.001,
                "which": "algebraic",
                "lca_parameters": 10,
            },
            "polca": {"interval": 50, "second_order": "paper", "eigenvalue": "basis", "batch_sequences": 50},
            "labels": {},
            "clustering": {"min_cluster_size": 30, "min_samples_divisor": 15},
            "stability": {"repeats": 2, "noise": 0.01, "analyses": list(STABLE_ANALYSES)},
            "breakthroughs": {"fall": 0.87, "delta": 100, "published": {"flat_step": 1000, "delta": 100}},
            "plots": {"last_step": 4000},
            **changes,
        },
    }


def additions(count: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int8], NDArray[np.bool_]]:
    """Tokens `[S, 12]`, place `[4 S]` and carry `[4 S]` of random additions, digit by digit on paper."""
    rng = np.random.default_rng(seed)
    tokens, carries = [], []
    for a, b in rng.integers(0, 1000, (count, 2)).tolist():
        digits, into, carried = [], [], 0
        for place in range(4):
            into.append(bool(carried))
            total = a // 10**place % 10 + b // 10**place % 10 + carried
            digits.append(total % 10)
            carried = total // 10
        tokens.append([*map(int, f"{a:03d}"), 10, *map(int, f"{b:03d}"), 11, *digits[::-1]])
        carries += into[::-1]
    return np.array(tokens, np.uint8), np.tile(np.arange(4, dtype=np.int8), count), np.array(carries)


def falling(steps: NDArray[np.int64], middle: float, width: float) -> NDArray[np.float64]:
    """A sigmoid from 1 to 0 over `steps [P]`."""
    return 1 / (1 + np.exp((steps - middle) / width))


def link_without(file: str, directory: Path, target: Path) -> None:
    """All files of `directory` in `target` but one."""
    for source in sorted(directory.rglob("*.*")):
        name = source.relative_to(directory)
        if name.as_posix() != file:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).symlink_to(source)


ClusterRow = tuple[int, int, NDArray[np.floating], NDArray[np.floating]]
"""Vector and number (from 0) of a cluster, projected `[P, n]` and exact `[C, n]` losses of its tokens."""


def cluster_arrays(
    steps: NDArray[np.int64],
    loss_steps: NDArray[np.int64],
    labels: NDArray[np.int16],
    kept: NDArray[np.bool_],
    vector_steps: NDArray[np.int64],
    rows: Sequence[ClusterRow],
) -> dict[str, NDArray[Any]]:
    """The arrays of `Clusters`, as its file has them."""
    m, p, c = len(rows), len(steps), len(loss_steps)

    def reduced(part: int, reduce: Callable[[NDArray[np.floating]], Any], *shape: int) -> NDArray[np.float32]:
        return np.array([reduce(row[part]) for row in rows], np.float32).reshape(m, *shape)

    def quartiles(losses: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.quantile(losses, [0.25, 0.5, 0.75], axis=1)

    return {
        "steps": steps,
        "loss_steps": loss_steps,
        "labels": labels,
        "vector_kept": kept,
        "vector_steps": vector_steps,
        "cluster_vector": np.array([row[0] for row in rows], np.int64),
        "cluster_index": np.array([row[1] for row in rows], np.int64),
        "cluster_size": np.array([row[2].shape[1] for row in rows], np.int64),
        "medoid": np.zeros(m, np.int64),
        "nearest": np.full((m, 10), -1, np.int64),
        "projected_quartiles": reduced(2, quartiles, 3, p),
        "projected_mean": reduced(2, lambda losses: losses.mean(axis=1), p),
        "projected_medoid": reduced(2, lambda losses: losses[:, 0], p),
        "loss_quartiles": reduced(3, quartiles, 3, c),
        "loss_mean": reduced(3, lambda losses: losses.mean(axis=1), c),
    }


@dataclass
class Synthetic:
    """Writes all result files of a run in the folder `run`.

    Of raw trajectories every vector lacks the smallest of its clusters, hides breakthroughs elsewhere and is less
    stable, so that no table can take one reading for the other.

    Attributes:
        empty: analyses in which nothing is clustered.
        empty_in: the readings in which nothing is.
        dropped: vectors (from 1) that the filter dropped.
        crowded: a vector (from 1) with many small clusters.
        scale: factor of the projected losses.
    """

    run: Path
    sequences: int = 250
    vectors: int = 5
    last: int = 5000
    empty: Collection[str] = ()
    empty_in: Collection[Reading] = READINGS
    dropped: Collection[int] = (4,)
    crowded: int = 0
    scale: float = 1.0
    summary: Mapping[str, Any] = field(default_factory=lambda: dict(SUMMARY))

    @property
    def paths(self) -> TaskPaths:
        return TaskPaths(self.run, "arithmetic")

    def write(self) -> "Synthetic":
        self.rng = np.random.default_rng(1)
        self.tokens, self.place, self.carry = additions(self.sequences)
        self.steps = np.arange(0, self.last + 1, 50)
        self.losses = self._losses()
        paths = self.paths
        write_npz(paths.labels, {"tokens": self.tokens, "place": self.place, "carry": self.carry})
        write_npz(paths.losses, {"steps": self.steps, "losses": self.losses})
        log = {"step": self.steps, "loss": self.losses.mean(axis=1), "learning_rate": 1e-5}
        write_csv(paths.training_log, pd.DataFrame(log))
        write_npz(paths.projected_losses, self._projected())
        asked = skills({"tokens": self.tokens, "place": self.place, "carry": self.carry})
        compared = ["loss", "loss_change", "polca_first_order", *STABLE_ANALYSES]
        labels = {name: skill.values for name, skill in asked.items()}
        write_signatures(paths, list(dict.fromkeys(compared)), labels, asked["digit"].among)
        for reading in READINGS:
            self._clusters(paths.of_reading(reading))
        return self

    def _clusters(self, paths: TaskPaths) -> None:
        """The files of one reading."""
        self.reading = paths.reading
        clusters: list[dict[str, Any]] = []
        vectors: list[dict[str, Any]] = []
        for analysis in ANALYSES:
            arrays = self._analysis(analysis, clusters, vectors)
            write_npz(paths.cluster(analysis), arrays)
        columns = list(self._row("polca", 0, 0, np.arange(1)))
        write_csv(paths.table("clusters"), pd.DataFrame(clusters, columns=columns))
        write_csv(paths.table("vectors"), pd.DataFrame(vectors))
        write_json(paths.summary, self.summary)

    def _losses(self) -> NDArray[np.float32]:
        columns = []
        for place, carry in zip(self.place.tolist(), self.carry.tolist(), strict=True):
            middle, width, rest = LEARNT[place, carry]
            jitter = np.exp(0.15 * self.rng.standard_normal(3))
            curve = rest * jitter[0] + (2.7 - rest) * jitter[1] * falling(self.steps, middle * jitter[2], width)
            bounce = 0.04 * self.rng.standard_normal(len(self.steps)).cumsum() * falling(self.steps, 2500, 900)
            columns.append(np.abs(curve + bounce))
        return np.stack(columns, axis=1).astype(np.float32)

    def _projected(self) -> dict[str, NDArray[Any]]:
        """Projected losses at three moments: carries of the first three places fall further along one vector each."""
        steps = self.steps[[round(share * (len(self.steps) - 1)) for share in (0.25, 0.5, 1)]]
        rng = np.random.default_rng(2)
        found: dict[str, NDArray[Any]] = {"steps": steps}
        for analysis in STABLE_ANALYSES:
            told = np.array([(self.place == v % 4) & self.carry for v in range(self.vectors)])
            last = -(1 + told) * np.exp(0.3 * rng.standard_normal(told.shape))
            found[analysis] = (self.scale * np.outer(steps / self.last, last).reshape(3, *told.shape)).astype(
                np.float32
            )
        return found

    def _members(self, analysis: str, vector: int) -> list[NDArray[np.int64]]:
        """Tokens of the clusters of a vector (from 0): a skill or two each, with some others mixed in."""
        raw = self.reading == "raw"
        if analysis in self.empty and self.reading in self.empty_in:
            return []
        if vector + 1 == self.crowded:
            return [np.arange(i * 24, i * 24 + 60 - 2 * i) for i in range(9 - raw)]
        tables: list[list[tuple[int, bool | None, float]]] = [
            [(3, None, 0.7), (1, True, 0.8), (0, True, 0.5), (0, False, 0.4)],
            [(1, False, 0.5), (2, True, 0.6), (2, False, 0.3)],
            [(0, True, 0.9), (0, False, 0.8)],
            [(3, None, 0.9)],
            [],
        ]
        if analysis in ("loss", "loss_change"):
            tables = [[(3, None, 0.9), (2, None, 0.8), (0, None, 0.9)]]
        groups = []
        for place, carry, share in tables[vector % len(tables)]:
            right = (self.place == place) & (self.carry == (self.carry if carry is None else carry))
            chosen = np.where(right, self.rng.random(len(right)) < share, self.rng.random(len(right)) < 0.02)
            groups.append(np.flatnonzero(chosen))
        taken: set[int] = set()
        result = []
        for group in sorted(groups, key=len, reverse=True):
            members = np.array([int(t) for t in group if int(t) not in taken])
            taken |= set(members.tolist())
            result.append(members)
        return result[:-1] if raw else result

    def _analysis(
        self, analysis: str, clusters: list[dict[str, Any]], vectors: list[dict[str, Any]]
    ) -> dict[str, NDArray[Any]]:
        tokens = len(self.place)
        count = 1 if analysis in ("loss", "loss_change") else self.vectors
        labels = np.full((count, tokens), -1, np.int16)
        kept = np.array([analysis != "polca" or v + 1 not in self.dropped for v in range(count)])
        sampled = np.array([400 * (v + 1) if count > 1 else -1 for v in range(count)])
        steps = self.steps[1:] if analysis == "loss_change" else self.steps
        rows: list[ClusterRow] = []
        for v in range(count):
            if kept[v]:
                labels[v, self.rng.random(tokens) < 0.4] = -2
            groups = self._members(analysis, v) if kept[v] else []
            for c, members in enumerate(groups):
                labels[v, members] = c
                drops = falling(steps, 700 + 500 * c + 300 * v, 150 + 30 * c)
                size = (0.3 + 0.2 * c) * np.exp(0.3 * self.rng.standard_normal(len(members)))
                projected = self.scale * np.outer(drops - drops[0], size)
                rows.append((v, c, projected, self.losses[:, members]))
                clusters.append(self._row(analysis, v, c, members))
            if not kept[v]:
                labels[v] = -3
            basis, strategy = ANALYSES[analysis]
            stable = (0.9 if self.reading == "standardised" else 0.4) - 0.05 * v
            best = [r["homogeneity"] for r in clusters if r["analysis"] == analysis and r["vector"] == v + 1]
            vectors.append(
                {
                    "analysis": analysis,
                    "basis": basis,
                    "strategy": strategy,
                    "vector": v + 1,
                    "vector_step": sampled[v],
                    "kept": kept[v],
                    "n_dropped": int((labels[v] == -2).sum()),
                    "n_clustered": int((labels[v] >= 0).sum()),
                    "n_outliers": int((labels[v] == -1).sum()),
                    "n_clusters": len(groups),
                    **{f"auc_{p}": 0.6 + 0.05 * v for p in PLACES[:-1]},
                    "best_homogeneity": max(best, default=np.nan),
                    "ari_bootstrap": stable if analysis in STABLE_ANALYSES else np.nan,
                    "ari_perturbed": stable + 0.08 if analysis in STABLE_ANALYSES else np.nan,
                }
            )
        return cluster_arrays(steps, self.steps, labels, kept, sampled, rows)

    def _row(self, analysis: str, vector: int, cluster: int, members: NDArray[np.int64]) -> dict[str, Any]:
        """A row of `clusters.csv`."""
        place, carry = self.place[members], self.carry[members]
        n_carry = int(carry.sum())
        homogeneity, recall = n_carry / len(members), n_carry / max(1, int(self.carry.sum()))
        basis, strategy = ANALYSES[analysis]
        return {
            "analysis": analysis,
            "basis": basis,
            "strategy": strategy,
            "vector": vector + 1,
            "cluster": cluster,
            "size": len(members),
            "n_carry": n_carry,
            "homogeneity": homogeneity,
            "recall": recall,
            "f1": 2 * homogeneity * recall / (homogeneity + recall) if n_carry else 0.0,
            "eligible": n_carry > 0 and bool(np.isin(place[carry], (1, 2)).mean() > 0.85),
            "break_step": 900.0 + 100 * cluster,
            "onset_step": 600.0 + 100 * cluster,
            "hidden": cluster > (1 if self.reading == "standardised" else 0),
            "hidden_onset": cluster > 2,
            "hidden_published": cluster > 0,
            **{
                f"n_{name}_{key}": int(((place == index) & (carry == flag)).sum())
                for index, name in enumerate(PLACES)
                for key, flag in (("carry", True), ("nocarry", False))
            },
        }
