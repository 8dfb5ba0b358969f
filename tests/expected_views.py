"""What the explorer shows of the made-up results for a link, worked out in Python from the result files alone."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, get_args
from urllib.parse import parse_qsl, urlencode

import numpy as np
from numpy.typing import NDArray

from polca.explorer.presets import READINGS, TITLES
from polca.explorer.token_map import LEVELS
from polca.machine.files import read_csv, read_npz
from polca.typing import Reading
from synthetic_explorer import line
from written_page import WrittenPage

STRAIGHT = {
    "polca": "hessian",
    "polca_first_order": "hessian",
    "polca_paper": "hessian",
    "polca_paper_current": "hessian",
    "polca_exact": "hessian",
    "polca_random": "random",
    "polca_shuffled_hessian": "shuffled_hessian",
}
"""Analyses whose trajectories are straight lines of known slopes, with the basis of these."""
GROUPS = {"outliers": -1, "rising": -2}
PICK = re.compile(r"t\d+|k\d+\.\d+|c\d+\.-?\d+|l\d+(_-?\d+\.-?\d+){3,200}|b\d+(_-?\d+\.-?\d+){2}")
"""A choice on the map."""
SHOWN = 25
"""Rows of tokens before more are asked for."""


@dataclass(frozen=True)
class State:
    """What a link says; defaults are left out of it."""

    setting: str
    analysis: str
    vector: int
    group: str = ""
    token: str = ""
    pick: str = ""
    q: str = ""
    scope: str = "near"
    order: str = "text"

    @property
    def link(self) -> str:
        always = [(name, getattr(self, name)) for name in ("setting", "analysis", "vector")]
        further = [(f.name, value) for f in fields(self)[3:] if (value := getattr(self, f.name)) != f.default]
        return "#" + urlencode([*always, *further])


def inside(places: NDArray[np.float64], corners: Sequence[tuple[int, ...]], box: bool) -> NDArray[np.bool_]:
    """Of places `[2, X]`, those in a box, or those around which a path goes an odd number of times."""
    at, ends = places.T, np.array(corners, float)
    if box:
        return np.asarray(((at >= ends.min(axis=0)) & (at <= ends.max(axis=0))).all(axis=1))
    # Angles seen from each place along the path: they add up to whole turns.
    seen = np.angle([[complex(*(end - place)) for end in (*ends, ends[0])] for place in at])
    turns = np.rint(((np.diff(seen) + np.pi) % (2 * np.pi) - np.pi).sum(axis=1) / (2 * np.pi)).astype(int)
    return np.asarray(turns % 2 == 1)


@dataclass(frozen=True)
class Analysis:
    """An analysis in one reading: rows of its vectors, labels `[K, X]` and quartiles of its clusters."""

    title: str
    vectors: list[dict[str, Any]]
    labels: NDArray[np.int16]
    quartiles: Mapping[str, NDArray[np.float32]]
    owner: NDArray[np.int64]
    name: str

    @property
    def start(self) -> int:
        """The first kept vector with clusters, else the first kept one."""
        kept = [row["vector"] for row in self.vectors if row["kept"]]
        found = [row["vector"] for row in self.vectors if row["kept"] and row["n_clusters"]]
        return int((found or kept or [1])[0])


class Expected:
    """Views of the made-up run, whose page begins with the first vector of POLCA of additions."""

    def __init__(self, made: WrittenPage) -> None:
        self.run = made.run
        self.settings = {setting.id: setting for setting in made.page.settings}

    @cached_property
    def analyses(self) -> dict[str, dict[str, Analysis]]:
        found: dict[str, dict[str, Analysis]] = {}
        for setting in ("arithmetic", "english"):
            found[setting] = {}
            for reading in get_args(Reading):
                paths = getattr(self.run, setting).paths.of_reading(reading)
                table = read_csv(paths.table("vectors"))
                for name in table["analysis"].unique():
                    arrays = read_npz(paths.cluster(name))
                    found[setting][name if reading == "standardised" else f"{name}.raw"] = Analysis(
                        f"{TITLES[name][0]}, {READINGS[reading][0]}",
                        table[table["analysis"] == name].to_dict("records"),
                        arrays["labels"],
                        {"projected": arrays["projected_quartiles"], "exact": arrays["loss_quartiles"]},
                        arrays["cluster_vector"] + 1,
                        name,
                    )
        return found

    @cached_property
    def words(self) -> dict[str, NDArray[Any]]:
        """Every token in small letters, without the spaces around it."""
        symbols = np.array([*"0123456789+="])
        digits = symbols[self.run.arithmetic.tokens[:, 8:].astype(int)].ravel()
        text = np.array([string.strip().lower() for string in self.run.strings[:, 3:].ravel()], object)
        return {"arithmetic": digits.astype(object), "english": text}

    @cached_property
    def lines(self) -> dict[str, Mapping[str, Any]]:
        english = self.run.english
        own = line(english.steps, english.losses, len(english.vectors), 9)
        return {"arithmetic": self.run.projections, "english": {"hessian": own}}

    def of(self, link: str) -> State:
        """The view that exists and is next to what a link says."""
        return self.existing(dict(parse_qsl(link.removeprefix("#"))))

    def existing(self, given: Mapping[str, Any]) -> State:
        setting = given.get("setting") if given.get("setting") in self.analyses else "arithmetic"
        known = self.analyses[setting]
        analysis = given.get("analysis") if given.get("analysis") in known else "polca"
        chosen = known[analysis]
        numbers = {str(row["vector"]) for row in chosen.vectors}
        vector = int(given["vector"]) if str(given.get("vector")) in numbers else chosen.start
        groups = {*map(str, range(int(chosen.vectors[vector - 1]["n_clusters"]))), "outliers", "rising"}
        tokens = {str(x) for x in range(chosen.labels.shape[1])}
        return State(
            setting,
            analysis,
            vector,
            group=given["group"] if given.get("group") in groups else "",
            token=given["token"] if given.get("token") in tokens else "",
            pick=given["pick"] if self._pick_exists(setting, chosen, given.get("pick", "")) else "",
            q=given.get("q", ""),
            scope="token" if given.get("scope") == "token" else "near",
            order=given["order"] if given.get("order") in ("nearest", "projected", "rises", "last") else "text",
        )

    def _pick_exists(self, setting: str, chosen: Analysis, pick: str) -> bool:
        if PICK.fullmatch(pick) is None:
            return False
        kind, (first, *second) = pick[0], [int(n) for n in pick[1:].partition("_")[0].split(".")]
        own = self.settings[setting]
        assert own.token_map is not None
        if kind == "k":
            return first < len(own.facets) and second[0] < len(own.facets[first].categories)
        tokens, vectors = chosen.labels.shape[::-1]
        return {"t": first < tokens, "c": 1 <= first <= vectors}.get(kind, first < len(own.token_map.steps))

    def picked(self, state: State) -> NDArray[np.bool_]:
        """Tokens chosen on the map; all where none is."""
        chosen, own = self.analyses[state.setting][state.analysis], self.settings[state.setting]
        tokens = np.arange(chosen.labels.shape[1])
        if not state.pick:
            return np.ones(len(tokens), bool)
        head, *corners = state.pick.split("_")
        numbers = [int(n) for n in head[1:].split(".")]
        if head[0] == "t":
            found = tokens == numbers[0]
        elif head[0] == "k":
            found = np.asarray(own.facets[numbers[0]].values) == numbers[1]
        elif head[0] == "c":
            found = chosen.labels[numbers[0] - 1] == numbers[1]
        else:
            assert own.token_map is not None
            places = own.token_map.coordinates[:, :, numbers[0]]
            levels = np.rint(places / np.abs(own.token_map.coordinates).max() * LEVELS)
            points = [tuple(int(n) for n in corner.split(".")) for corner in corners]
            found = inside(levels / LEVELS * 1000, points, box=head[0] == "b")
        return found if found.any() else np.ones(len(tokens), bool)

    def changed(self, state: State, **part: Any) -> State:
        """After a choice; empty parts are chosen anew."""
        return self.existing({**{f.name: getattr(state, f.name) for f in fields(state)}, **part})

    def view(self, state: State) -> dict[str, Any]:
        """Title, counts, rows of the table of clusters, tokens that fit, and the curves of both charts."""
        chosen = self.analyses[state.setting][state.analysis]
        row, several = chosen.vectors[state.vector - 1], len(chosen.vectors) > 1
        labels, losses = chosen.labels[state.vector - 1], getattr(self.run, state.setting).losses
        size = {name: int(row[f"n_{name}"]) for name in ("dropped", "outliers", "clustered", "clusters")}
        sizes = [int((labels == c).sum()) for c in range(size["clusters"])]
        own = labels == (GROUPS[state.group] if state.group in GROUPS else int(state.group or -9))
        fits = own.copy() if state.group else np.ones(len(labels), bool)
        fits &= self.picked(state)
        if state.q:
            assert state.scope == "token", "texts around a token are not worked out here"
            fits &= self.words[state.setting] == state.q
        found = np.flatnonzero(fits)
        if state.order == "last":
            found = found[np.argsort(-losses[-1][found], kind="stable")]
        return {
            "title": chosen.title
            + (f": vector {state.vector}, sampled at step {row['vector_step']:,}" if several else ""),
            "counts": self._counts(len(labels), size) if row["kept"] else "Dropped by the filter",
            "sizes": sizes + [n for n in (int((labels == -1).sum()), int((labels == -2).sum())) if n],
            "pressed": int(own.any()),
            "tokens": len(found),
            "rows": found[:SHOWN].tolist(),
            "projected": None if chosen.name == "loss" else self._curves(state, chosen, "projected"),
            "exact": self._curves(state, chosen, "exact"),
        }

    def _counts(self, tokens: int, size: Mapping[str, int]) -> str:
        rising = f"{size['dropped']:,} dropped as rising, " if size["dropped"] else ""
        clusters = f"{size['clustered']:,} in {size['clusters']} cluster{'s' * (size['clusters'] != 1)}."
        outliers = f"{size['outliers']:,} outlier{'s' * (size['outliers'] != 1)}"
        return f"{tokens:,} tokens: {rising}{outliers}, {clusters if size['clusters'] else 'no cluster'}"

    def _curves(self, state: State, chosen: Analysis, chart: str) -> dict[str, Any]:
        """Medians of the clusters by number, and the mean of all tokens where it is known."""
        own = chosen.quartiles[chart][chosen.owner == state.vector][:, 1]
        curves: dict[str, Any] = {str(c): median for c, median in enumerate(own)}
        run = getattr(self.run, state.setting)
        if chart == "exact":
            curves["all tokens"] = run.losses.mean(axis=1, dtype=np.float64)
            token = run.losses[:, int(state.token)] if state.token else None
        elif chosen.name in STRAIGHT:
            p = self.lines[state.setting][STRAIGHT[chosen.name]]
            per_interval = p.gradients[0, :, state.vector - 1].astype(float) * p.movements[0, state.vector - 1]
            intervals = np.arange(len(run.steps))
            curves["all tokens"] = per_interval.mean() * intervals
            token = per_interval[int(state.token)] * intervals if state.token else None
        else:
            return curves
        return curves if token is None else {**curves, "this token": token}
