"""What the page shows, independent of where it comes from (the package's docstring has the JSON)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.explorer.packing import TokenTrajectories, curve, pack
from polca.explorer.token_map import TokenMap
from polca.method.clustering import Clusters
from polca.report.figures.style import Look


@dataclass(frozen=True)
class Facet:
    """A division of the tokens, such as digit and carry, or part of speech.

    Attributes:
        title: what it divides by.
        categories: (name, colour) of each.
        values: `[X]` index into `categories`.
    """

    title: str
    categories: Sequence[tuple[str, str]]
    values: NDArray[np.integer]


@dataclass(frozen=True)
class Tokens:
    """The tokens in their contexts.

    Attributes:
        sequences: strings that, joined, are one text each.
        sequence, place: `[X]` which string of which sequence token x is.
    """

    sequences: Sequence[Sequence[str]]
    sequence: NDArray[np.integer]
    place: NDArray[np.integer]

    def __len__(self) -> int:
        return len(self.sequence)

    def text(self, token: int) -> str:
        """The string of a token."""
        return self.sequences[int(self.sequence[token])][int(self.place[token])]


@dataclass(frozen=True)
class ClusterView:
    """How one cluster is named and drawn, and when it breaks through.

    Attributes:
        look: name, colours and dashes, as in the figures.
        break_step: eq. 9's breakthrough, mean over members; NaN where there is none.
        hidden: whether that is later than the setting's `flat_step` (eq. 10).
        homogeneity: of addition, the share of its tokens with a carry where the paper's rule counts it; NaN elsewhere.
    """

    look: Look
    break_step: float = float("nan")
    hidden: bool = False
    homogeneity: float = float("nan")

    def to_json(self) -> dict[str, Any]:
        """As the page holds it, without what `Clusters` knows; dashes as lengths of dashes and gaps."""
        lengths = () if isinstance(self.look.dashes, str) else self.look.dashes[1]
        return {
            "name": self.look.name,
            "fit": round(self.look.fit, 4),
            "color": self.look.color,
            "text_color": self.look.text_color,
            "dash": ",".join(f"{1.6 * length:.4g}px" for length in lengths) or "solid",
            "break_step": round(self.break_step, 1) if np.isfinite(self.break_step) else None,
            "hidden": self.hidden,
            "homogeneity": round(self.homogeneity, 4) if np.isfinite(self.homogeneity) else None,
        }


def _named(thing: object, *names: str) -> dict[str, Any]:
    """Attributes of these names."""
    return {name: getattr(thing, name) for name in names}


@dataclass(frozen=True)
class Analysis:
    """One clustering of trajectories.

    Attributes:
        id: its name in links; letters, digits, `_` and `.`.
        title, note: what it is, in words; in a sentence.
        reading: what HDBSCAN saw of the trajectories, in words that follow the title.
        quantity, unit: what is clustered, for the axis.
        trajectories: key of the setting's trajectories.
        clusters: of every vector.
        views: one for each of `clusters`.
        convergence: how exact its vectors are, in a sentence; empty where that is not known.
    """

    id: str
    title: str
    reading: str
    note: str
    quantity: str
    unit: str
    trajectories: str
    clusters: Clusters
    views: Sequence[ClusterView]
    convergence: str = ""

    def to_json(self) -> dict[str, Any]:
        """As the page holds it."""
        c = self.clusters
        vectors: list[dict[str, Any]] = [
            {
                "number": k + 1,
                "step": int(c.vector_steps[k]),
                "kept": bool(c.vector_kept[k]),
                "clusters": [],
            }
            for k in range(len(c.labels))
        ]
        for m, view in enumerate(self.views):
            vectors[int(c.cluster_vector[m])]["clusters"].append(
                {
                    "number": int(c.cluster_index[m]),
                    **view.to_json(),
                    "size": int(c.cluster_size[m]),
                    "medoid": int(c.medoid[m]),
                    "nearest": [int(t) for t in c.nearest[m] if t >= 0],
                    "projected": curve(c.projected_quartiles[m]),
                    "loss": curve(c.loss_quartiles[m]),
                }
            )
        words = ("id", "title", "reading", "note", "quantity", "unit", "trajectories", "convergence")
        return {
            **_named(self, *words),
            "steps": c.steps.tolist(),
            "labels": pack(c.labels),
            "vectors": vectors,
        }


@dataclass(frozen=True)
class Setting:
    """One model with its evaluation tokens, and what was found in it.

    Attributes:
        id: its name in links.
        title, note: what it is, in words; in a sentence.
        flat_step: τ of eq. 10; None where there is none.
        steps, losses: `[C]` training steps and `[C, X]` exact losses, nats.
        facets: the first colours tokens.
        trajectories: by key.
        analyses: of different ids; the first is shown first.
        token_map: of the trajectories of the first, where they are projected losses.

    Raises:
        PolcaError: parts that do not fit together.
    """

    id: str
    title: str
    note: str
    flat_step: int | None
    tokens: Tokens
    steps: NDArray[np.int64]
    losses: NDArray[np.float32]
    facets: Sequence[Facet]
    trajectories: Mapping[str, TokenTrajectories]
    analyses: Sequence[Analysis]
    token_map: TokenMap | None = None

    def __post_init__(self) -> None:
        tokens = len(self.tokens)
        if self.losses.shape != (len(self.steps), tokens):
            raise PolcaError(f"{self.id}: losses {self.losses.shape} do not fit {tokens} tokens: run its stages again")
        if not self.analyses:
            raise PolcaError(f"{self.id}: no analysis to show: run its clustering again")
        if len({analysis.id for analysis in self.analyses}) < len(self.analyses):
            raise PolcaError(f"{self.id}: two analyses of one id: give each its own")
        for facet in self.facets:
            if facet.values.shape != (tokens,):
                raise PolcaError(f"{self.id}: facet {facet.title!r} does not fit {tokens} tokens: label them again")
        for analysis in self.analyses:
            c, name = analysis.clusters, f"{self.id}, analysis {analysis.id}"
            if c.labels.shape[1:] != (tokens,) or len(analysis.views) != len(c):
                raise PolcaError(f"{name}: clusters do not fit {tokens} tokens: run its clustering again")
            t = self.trajectories.get(analysis.trajectories)
            if t is None or t.low.shape != c.labels.shape or t.points != len(c.steps):
                raise PolcaError(f"{name}: clusters and trajectories do not fit together: run its clustering again")
        if (found := self.token_map) is not None:
            if found.trajectories not in self.trajectories:
                raise PolcaError(f"{self.id}: a map of {found.trajectories}, whose trajectories are not here: add them")
            if found.coordinates.shape[1] != tokens:
                raise PolcaError(f"{self.id}: the map does not fit {tokens} tokens: make it of the same trajectories")

    @property
    def start(self) -> dict[str, Any]:
        """What the page shows first, of the first analysis: the first kept vector with clusters, or first kept one."""
        first, clusters = self.analyses[0], self.analyses[0].clusters
        kept = np.flatnonzero(clusters.vector_kept)
        found = np.intersect1d(clusters.cluster_vector, kept)
        return {"analysis": first.id, "vector": int(next(iter([*found, *kept]), 0)) + 1}

    def to_json(self) -> dict[str, Any]:
        """As the page holds it."""
        return {
            **_named(self, "id", "title", "note", "flat_step", "start"),
            "exact": {"steps": self.steps.tolist(), "mean": curve(self.losses.mean(axis=1, dtype=np.float64))},
            "tokens": {
                "sequences": [list(sequence) for sequence in self.tokens.sequences],
                "sequence": pack(np.asarray(self.tokens.sequence, np.int32)),
                "place": pack(np.asarray(self.tokens.place, np.int32)),
                "first": pack(self.losses[0]),
                "last": pack(self.losses[-1]),
            },
            "facets": [
                {
                    "title": facet.title,
                    "categories": [{"name": name, "color": color} for name, color in facet.categories],
                    "values": pack(facet.values.astype(np.uint8)),
                }
                for facet in self.facets
            ],
            "trajectories": {key: t.pack() for key, t in self.trajectories.items()},
            "analyses": [analysis.to_json() for analysis in self.analyses],
            "map": self.token_map and self.token_map.to_json(),
        }


@dataclass(frozen=True)
class Page:
    """All that one page shows.

    Attributes:
        title: its heading.
        source: what it was made from, such as a preset's name.
        settings: at least one.

    Raises:
        PolcaError: there is nothing to show.
    """

    title: str
    source: str
    settings: Sequence[Setting]

    def __post_init__(self) -> None:
        if not self.settings:
            raise PolcaError(f"{self.source}: no results to show: run its stages first (`make repro`)")

    def to_json(self) -> dict[str, Any]:
        """As the page holds it."""
        return {**_named(self, "title", "source"), "settings": [setting.to_json() for setting in self.settings]}
