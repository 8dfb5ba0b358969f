"""Made-up but plausible result files of the English setting, with contexts from a passage written for this."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.machine.files import write_csv, write_json, write_npz
from polca.study.paths import TaskPaths
from polca.typing import Reading
from synthetic import READINGS, ClusterRow, cluster_arrays, falling
from synthetic_signatures import write_signatures

PASSAGE = """\
The harbour of the old town lies between two hills, and for most of its history the only road to it ran along \
the foot of the northern one. In the winter of 1871 a storm carried away the bridge, the customs house and part \
of the sea wall, so that for seven weeks nothing but fishing boats could reach the market. The council, which \
had refused to pay for repairs in each of the three years before, voted for a new wall at once.
Its engineer was a quiet man of twenty-six who had never built anything larger than a mill race. He measured the \
height of every tide for a year, drew a table of the results, and concluded that the wall should be lower than \
the old one, not higher: a wall over which the largest waves could break would last longer than one against \
which they had to stop.
Few people believed him. The newspapers printed letters from captains, teachers and a retired bishop, all of \
them certain that the town would be lost. The wall was finished in the spring of 1874, a little under budget, \
and it stands today.
What makes the case interesting for historians of engineering is not the wall itself but the table, which \
survives in the municipal archive. It shows that the engineer corrected his readings for the pressure of the \
air, a practice that would become usual only a generation later, and that he understood the limits of his own \
instruments."""
"""Paragraphs, one a line."""

TOKENS = [t.replace("\n", "⏎") for t in re.findall(r" ?[^\W\d]{1,6}|[^\W\d]+| ?\d+|\n|[^\w\s]| ", PASSAGE)]
"""The passage in tokens with their leading spaces; words of more than six letters are two."""

PREPOSITIONS = (" of", " for", " in", " to", " from", " at", " over", " along", " under")


@dataclass(frozen=True)
class Kind:
    """A sort of cluster: its name, tag sets three, two and one before the target and at it, and which tokens it has."""

    name: str
    tags: tuple[str, str, str, str]
    holds: Callable[[int], bool]
    fit: float = 0.86
    simple: bool = True


def _is(*strings: str) -> Callable[[int], bool]:
    return lambda i: TOKENS[i] in strings


KINDS = {
    "newline": Kind("newline", ("NOUN+VERB", "NOUN+ADP", "PUNCT", "SPACE"), _is("⏎"), 1.0),
    "comma": Kind("`,` after NOUN", ("DET+ADP+ADJ", "ADJ+DET", "NOUN", "PUNCT"), _is(",")),
    "of": Kind("ADP `of`", ("DET+ADP", "DET", "NOUN", "ADP"), _is(" of"), 0.93),
    "adp": Kind("ADP after NOUN", ("DET+VERB", "DET", "NOUN", "ADP"), _is(*PREPOSITIONS), 0.74),
    "det": Kind("DET `the`", ("NOUN+VERB", "NOUN", "ADP", "DET"), _is(" the", " a")),
    "noun": Kind(
        "NOUN after DET ADJ", ("ADP", "DET", "ADJ", "NOUN"), _is(" wall", " town", " table", " tide", " road"), 0.71
    ),
    "verb": Kind("VERB", ("NOUN", "DET", "NOUN", "VERB"), _is(" lies", " ran", " shows", " voted", " drew"), 0.78),
    "piece": Kind(
        "word continuation",
        ("DET", "ADJ", "NOUN", "NOUN"),
        lambda i: TOKENS[i].isalpha() and TOKENS[i] != "⏎" and TOKENS[i - 1].strip().isalpha(),
        0.81,
    ),
    "after": Kind("token after `,`", ("NOUN", "NOUN", "PUNCT", "NOUN+DET+CCONJ"), lambda i: TOKENS[i - 1] == ",", 0.9),
    "mixed": Kind("mixed", ("NOUN+DET+VERB", "NOUN+ADP+ADJ", "NOUN+DET+ADJ", "NOUN+ADP+DET"), lambda i: True, 0, False),
}

VECTORS = (
    ("comma", "adp", "of"),
    ("mixed", "mixed"),
    ("newline", "det", "noun", "verb", "piece", "after", "mixed"),
    ("noun",),
    ("of", "of", "adp", "adp"),
    (),
    ("piece", "after", "comma"),
)
"""Kinds of the clusters of each vector; the fourth vector is dropped by default."""
LOSS = ("mixed", "adp", "comma")

CORPUS: dict[str, Any] = {
    "source": "local",
    "title": "An invented passage",
    "licence": "MIT",
    "attribution": "written for this test",
    "sha256": "0" * 64,
    "documents": 120,
    "paragraphs": 840,
    "characters": 410203,
    "training_documents": 114,
    "evaluation_documents": 6,
    "vocabulary": 1001,
    "training_tokens": 98765,
    "evaluation_tokens": 1240,
    "epochs": 2.59150123,
    "characters_per_token": 4.15,
}

SUMMARY: dict[str, Any] = {
    "tokens": 1240,
    "checkpoints": 61,
    "vectors": 7,
    "flat_step": 1500,
    "delta": 200,
    "published_flat_step_fall": None,
    "second_order": "trapezoid",
    "eigenvalue": "basis",
    "loss_first": 7.12345678,
    "loss_last": 4.5,
    "parameters": 92585,
    "corpus": CORPUS,
    "perplexity_first": 1240.7,
    "perplexity_last": 90.02,
    "target_unigram_entropy": 5.6,
    "completeness": {"none": {"fraction": 0.05, "allocated": -0.13, "relative_residual": 1.01, "correlation": None}},
    "guarded": {"loss": 0, "polca": 0},
    "analyses": {
        "polca": {
            "vectors": 7,
            "dropped_vectors": 1,
            "vectors_with_clusters": 5,
            "vectors_with_simple_label": 4,
            "mean_dropped_tokens": 345.678912,
            "hidden_fraction": 0.4,
            "constructions": {"comma": 2, "of": 0},
        },
        "loss": {"vectors": 1, "dropped_vectors": 0, "mean_dropped_tokens": 0.0, "hidden_fraction": None},
    },
}
"""Of standardised trajectories."""

RAW_COUNTS = {"vectors_with_clusters": 4, "vectors_with_simple_label": 3, "hidden_fraction": 0.25}
"""Of POLCA's clusters of raw trajectories; what the filters dropped is the same."""


def summary(reading: Reading) -> dict[str, Any]:
    """`summary.json` of one reading."""
    analyses = SUMMARY["analyses"]
    changed = {"polca": {**analyses["polca"], **RAW_COUNTS}} if reading == "raw" else {}
    return {**SUMMARY, "analyses": {**analyses, **changed}}


def params(**changes: Any) -> dict[str, Any]:
    """Parameters of a preset, in the form of `params.yaml`; sections of `english` can be replaced."""
    return {
        "preset": {"name": "synthetic", "description": "made up", "root": ".", "params": "params.yaml"},
        "tasks": {"english": {"data": "corpus", "labels": "data/tagger/model"}},
        "english": {
            "seed": 0,
            "data": {
                "corpus": {"source": "local", "characters": 0, "evaluation_fraction": 0.05},
                "vocabulary": 1001,
                "context": 64,
                "evaluation_contexts": 20,
                "max_epochs": 3,
            },
            "model": {"layers": 2, "width": 32, "heads": 4, "mlp_width": 128},
            "training": {
                "steps": 3000,
                "batch_size": 32,
                "learning_rate": 0.0002,
                "warmup_steps": 100,
                "betas": [0.9, 0.95],
                "weight_decay": 0.1,
                "checkpoint_interval": 50,
            },
            "basis": {
                "vectors": 7,
                "per_step": 1,
                "hessian_examples": 100,
                "tolerance": 0.001,
                "which": "algebraic",
            },
            "polca": {
                "interval": 50,
                "second_order": "trapezoid",
                "eigenvalue": "basis",
                "batch_sequences": 10,
                "curvature_of": [],
            },
            "clustering": {
                "min_cluster_size": 30,
                "min_samples_divisor": 15,
                "finer": {"min_cluster_size": 10, "min_samples_divisor": 150},
            },
            "labels": {"pipeline": "data/tagger/model", "coverage": 0.7, "simple_tags": 2},
            "stability": {"repeats": 2, "noise": 0.01, "analyses": ["polca"]},
            "breakthroughs": {"fall": 0.87, "delta": 200},
            "plots": {"last_step": 2500},
            **changes,
        },
    }


def context(i: int, tokens: int = 32) -> tuple[str, str, str]:
    """Token `i` of the passage with up to `tokens` before and after it."""
    return "".join(TOKENS[max(0, i - tokens) : i]), TOKENS[i], "".join(TOKENS[i + 1 : i + 1 + tokens])


@dataclass
class SyntheticEnglish:
    """Writes all result files of a run in the folder `run`.

    Of raw trajectories every vector lacks the smallest of its clusters, hides breakthroughs elsewhere and is less
    stable, so that no table can take one reading for the other.

    Attributes:
        vectors: kinds (of `KINDS`) of the clusters of each vector; `loss` those of the exact-loss analysis.
        finer: kinds of the clusters of each vector in the analysis `polca_fine`, which is left out where it is None;
            `finer_loss` the same of `loss_fine`.
        empty: `(analysis, reading)` of which nothing is clustered.
        dropped: vectors (from 1) that the filter dropped.
        scale: factor of the projected losses.
        contexts: taken in turn in place of the passage's, where given.
        names: taken in turn in place of the kinds' names, where given.
    """

    run: Path
    vectors: Sequence[Sequence[str]] = VECTORS
    loss: Sequence[str] = LOSS
    finer: Sequence[Sequence[str]] | None = None
    finer_loss: Sequence[str] | None = None
    empty: Collection[tuple[str, Reading]] = ()
    dropped: Collection[int] = (4,)
    scale: float = 1.0
    last: int = 3000
    contexts: Sequence[tuple[str, str, str]] = ()
    names: Sequence[str] = ()

    @property
    def paths(self) -> TaskPaths:
        return TaskPaths(self.run, "english")

    def write(self) -> "SyntheticEnglish":
        self.rng = np.random.default_rng(1)
        self.steps = np.arange(0, self.last + 1, 50)
        self.tokens = 1240
        self.losses = self._losses()
        paths = self.paths
        write_npz(paths.losses, {"steps": self.steps, "losses": self.losses})
        log = {"step": self.steps, "loss": self.losses.mean(axis=1), "learning_rate": 2e-4}
        write_csv(paths.training_log, pd.DataFrame(log))
        words = np.array(["the", ".", " of", "\n"])[np.arange(self.tokens) % 4]
        speech = np.array(["NOUN", "VERB"])[np.arange(self.tokens) % 2]
        among = np.arange(self.tokens) < 400
        write_signatures(paths, ["loss", "polca", "loss_change"], {"token": words, "part_of_speech": speech}, among)
        for reading in READINGS:
            self._clusters(paths.of_reading(reading))
        return self

    def _clusters(self, paths: TaskPaths) -> None:
        """The files of one reading."""
        self.reading = paths.reading
        write_json(paths.summary, summary(self.reading))
        clusters: list[dict[str, Any]] = []
        vectors: list[dict[str, Any]] = []
        contexts: list[dict[str, Any]] = []
        analyses = {"loss": [self.loss], "polca": self.vectors}
        analyses |= {"polca_fine": self.finer} if self.finer else {}
        analyses |= {"loss_fine": [self.finer_loss]} if self.finer_loss else {}
        for analysis, known in analyses.items():
            fewer = [names[:-1] if self.reading == "raw" else names for names in known]
            kinds = [()] * len(known) if (analysis, self.reading) in self.empty else fewer
            write_npz(paths.cluster(analysis), self._analysis(analysis, kinds, clusters, vectors, contexts))
        row, context = self._row("polca", 0, 0, "mixed", 1), self._context_rows("polca", 0, 0, "mixed")[0]
        write_csv(paths.table("clusters"), pd.DataFrame(clusters, columns=list(row)))
        write_csv(paths.table("vectors"), pd.DataFrame(vectors))
        write_csv(paths.table("contexts"), pd.DataFrame(contexts, columns=list(context)))

    def _losses(self) -> NDArray[np.float32]:
        rest = self.rng.gamma(4, 1, self.tokens)
        curves = rest + (7 - rest) * falling(self.steps, 300, 150)[:, None]
        noise = 0.05 * self.rng.standard_normal((len(self.steps), self.tokens)).cumsum(axis=0)
        return np.abs(curves + noise).astype(np.float32)

    def _analysis(
        self,
        analysis: str,
        kinds: Sequence[Sequence[str]],
        clusters: list[dict[str, Any]],
        vectors: list[dict[str, Any]],
        contexts: list[dict[str, Any]],
    ) -> dict[str, NDArray[Any]]:
        labels = np.full((len(kinds), self.tokens), -1, np.int16)
        exact = analysis.startswith("loss")
        kept = np.array([exact or v + 1 not in self.dropped for v in range(len(kinds))])
        sampled = np.array([-1 if exact else 400 * (v + 1) for v in range(len(kinds))])
        rows: list[ClusterRow] = []
        for v, names in enumerate(kinds):
            own: list[dict[str, Any]] = []
            if not kept[v]:
                labels[v] = -3
            elif not exact:
                labels[v, self.rng.random(self.tokens) < 0.4] = -2
            free = self.rng.permutation(self.tokens)
            for c, kind in enumerate(names if kept[v] else ()):
                size = max(40, 190 - 21 * c)
                members, free = np.sort(free[:size]), free[size:]
                labels[v, members] = c
                drops = falling(self.steps, 500 + 450 * c + 90 * v, 120 + 40 * c)
                noise = np.exp(0.3 * self.rng.standard_normal(size))
                wobble = 0.03 * self.rng.standard_normal(len(self.steps))
                shape = (0.3 + 0.14 * c) * (drops - drops[0]) + wobble - wobble[0]
                projected = self.scale * np.outer(shape, noise)
                rows.append((v, c, projected, self.losses[:, members] - 0.25 * c))
                own.append(self._row(analysis, v, c, kind, size))
                contexts += self._context_rows(analysis, v, c, kind)
            clusters += own
            stable = (0.9 if self.reading == "standardised" else 0.4) - 0.05 * v
            counts = {f"n_{n}": int(f(labels[v])) for n, f in _COUNTS.items()}
            vectors.append(
                {
                    "analysis": analysis,
                    "vector": v + 1,
                    "vector_step": sampled[v],
                    "kept": kept[v],
                    **counts,
                    "n_clusters": len(own),
                    "n_simple": sum(row["simple"] for row in own),
                    "n_hidden": sum(row["hidden"] for row in own),
                    "ari_bootstrap": stable if analysis == "polca" else np.nan,
                    "ari_perturbed": stable + 0.08 if analysis == "polca" else np.nan,
                }
            )
        return cluster_arrays(self.steps, self.steps, labels, kept, sampled, rows)

    def _row(self, analysis: str, vector: int, cluster: int, kind: str, size: int) -> dict[str, Any]:
        """A row of `clusters.csv`."""
        known = KINDS[kind]
        names = self.names or [known.name]
        tags = dict(zip(("tags_3", "tags_2", "tags_1", "tags_0"), known.tags, strict=True))
        return {
            "analysis": analysis,
            "vector": vector + 1,
            "cluster": cluster,
            "size": size,
            "break_step": 1300.0 + 200 * cluster,
            "onset_step": 1100.0 + 200 * cluster,
            "hidden": cluster > (1 if self.reading == "standardised" else 0),
            "hidden_onset": cluster > 2,
            "hidden_published": None,
            "simple": known.simple,
            "name": names[cluster % len(names)],
            "fit": known.fit,
            **tags,
            "top_target": next(TOKENS[i] for i in range(1, len(TOKENS)) if known.holds(i)).strip() or "␣",
            "top_target_share": known.fit,
        }

    def _context_rows(self, analysis: str, vector: int, cluster: int, kind: str) -> list[dict[str, Any]]:
        """Rows of `contexts.csv`."""
        found = [i for i in range(1, len(TOKENS)) if KINDS[kind].holds(i)]
        first = 3 * vector + 7 * cluster
        rows = []
        for rank in range(10):
            number = found[(first + rank) % len(found)]
            parts = self.contexts[(first + rank) % len(self.contexts)] if self.contexts else context(number)
            key = {"analysis": analysis, "vector": vector + 1, "cluster": cluster, "rank": rank + 1, "token": number}
            rows.append({**key, **dict(zip(("before", "target", "after"), parts, strict=True))})
        return rows


_COUNTS: dict[str, Callable[[NDArray[np.int16]], int]] = {
    "dropped": lambda labels: (labels == -2).sum(),
    "clustered": lambda labels: (labels >= 0).sum(),
    "outliers": lambda labels: (labels == -1).sum(),
}
