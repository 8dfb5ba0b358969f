"""Pages from the result files of `polca analyze`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from polca.errors import PolcaError
from polca.explorer.convergence import sentence
from polca.explorer.packing import quantise
from polca.explorer.presets import SHOWN_VALUES, analysis_view
from polca.explorer.schema import ClusterView, Facet, Page, Setting, Tokens
from polca.explorer.speech import OTHER
from polca.explorer.token_map import token_map
from polca.external.results import AGAIN, read_result, read_summary, settings_of
from polca.external.settings import AnalysisSettings
from polca.external.token_texts import TokenTexts
from polca.machine.files import read_csv, read_npz
from polca.method.clustering import VECTOR_DROPPED, Clusters
from polca.method.decomposition import Trajectories, decompose
from polca.method.projections import Projections
from polca.report.figures.projected_losses import look
from polca.report.figures.roles import ROLES
from polca.report.figures.style import shortened
from polca.tasks.scores import top_tokens
from polca.typing import Reading

FREQUENT = 7
"""Tokens with a colour of their own where there are more than colours; the rest are then shown as one."""
LETTERS = 24
"""Letters of a token's name in a key."""


def _check_clusters(path: Path, c: Clusters, trajectories: Trajectories, projections: Projections) -> None:
    """Labels, clusters, trajectories and projections must be of one analysis."""
    vectors, tokens, _ = trajectories.values.shape
    own = trajectories.vector_steps
    vector_steps = np.full(vectors, -1) if own is None else own
    fits = (
        c.labels.shape == (vectors, tokens)
        and np.array_equal(c.steps, trajectories.steps)
        and np.array_equal(c.vector_steps, vector_steps)
        and np.array_equal(c.loss_steps, projections.steps)
    )
    if not fits:
        raise PolcaError(f"{path}: other tokens, vectors or steps than those of projections.npz: {AGAIN}")
    counted = [(k, n, int((row == n).sum())) for k, row in enumerate(c.labels) for n in range(int(row.max()) + 1)]
    listed = list(zip(c.cluster_vector.tolist(), c.cluster_index.tolist(), c.cluster_size.tolist(), strict=True))
    exist = all(((low <= x) & (x < tokens)).all() for x, low in ((c.medoid, 0), (c.nearest, -1)))
    if counted != listed or not exist or c.labels.min() < VECTOR_DROPPED:
        raise PolcaError(f"{path}: its labels are not of its clusters: {AGAIN}")
    for m in range(len(c)):
        curves = trajectories.values[c.cluster_vector[m], c.members(m)].astype(np.float64)
        # As far as another machine's rounding can be from this one's.
        if not np.allclose(c.projected_mean[m], curves.mean(axis=0), rtol=0, atol=1e-5 * np.abs(curves).max()):
            raise PolcaError(f"{path}: its clusters are not of the trajectories of projections.npz: {AGAIN}")


def _table(path: Path, clusters: Clusters, names: Sequence[str]) -> pd.DataFrame:
    """The rows of `clusters.csv`, in the order of the clusters."""
    table = read_result(lambda p: read_csv(p, text=("hidden", "top_tokens")), path)
    keys = ("vector", "cluster", "size")
    wanted = np.stack([clusters.cluster_vector + 1, clusters.cluster_index, clusters.cluster_size], axis=1)
    if not {*keys, "break_step", "hidden", "top_tokens"} <= set(table):
        raise PolcaError(f"{path}: lacks columns of a table of clusters: {AGAIN}")
    if not np.array_equal(table[[*keys]].to_numpy(), wanted):
        raise PolcaError(f"{path}: has not the clusters of clusters.npz: {AGAIN}")
    numeric = not len(table) or table["break_step"].dtype.kind in "if"
    if not numeric or not set(table["hidden"]) <= {"", "True", "False"}:
        raise PolcaError(f"{path}: break_step or hidden hold something else: {AGAIN}")
    known = [top_tokens(names[x] for x in clusters.members(m)) for m in range(len(clusters))]
    if table["top_tokens"].tolist() != known:
        raise PolcaError(f"{path}: its tokens are not those of tokens.json: {AGAIN}")
    return table


def _facet(names: Sequence[str]) -> Facet:
    """Every token where there are few (the classes of images, say), else the most frequent and all others as one.

    Of many tokens, none that comes only once counts as frequent.
    """
    counted = sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))
    colors = [role.color for role in ROLES.values()]
    few = len(counted) <= len(colors)
    top = [name for name, count in counted if few or count > 1][: len(colors) if few else FREQUENT]
    categories = [(f"“{shortened(name, LETTERS)}”", color) for name, color in zip(top, colors, strict=False)]
    if not few:
        categories.append(("other", OTHER))
    index = {name: i for i, name in enumerate(top)}
    return Facet("token" if few else "frequent token", categories, np.array([index.get(n, len(top)) for n in names]))


def _joint_facets(directory: Path, tokens: int) -> list[Facet]:
    """Clusters of the map of all vectors together, the largest by their most telling token; none without a map."""
    path = directory / "token_map.npz"
    if not path.is_file():
        return []
    found = read_result(
        lambda p: read_npz(p, {"tokens": "int N", "coordinates": "finite N D", "clusters": "int N"}), path
    )
    table = read_result(lambda p: read_csv(p, text=("telling_token",)), directory / "joint_clusters.csv")
    if "telling_token" not in table or found["tokens"].max(initial=-1) >= tokens:
        raise PolcaError(f"{path}: not of the tokens of projections.npz: {AGAIN}")
    shown = table["telling_token"].tolist()[:FREQUENT]
    if not shown:
        return []
    colors = [role.color for role in ROLES.values()]
    names = [f"{n}: “{shortened(name, LETTERS)}”" for n, name in enumerate(shown)]
    kinds = np.full(tokens, len(shown))
    kinds[found["tokens"]] = np.where(np.isin(found["clusters"], range(len(shown))), found["clusters"], len(shown))
    return [Facet("joint cluster", [*zip(names, colors, strict=False), ("other", OTHER)], kinds)]


def _title(settings: AnalysisSettings) -> str:
    """The key of `TITLES` that says what was clustered."""
    if settings.strategy != "polca":
        return settings.strategy
    form = settings.second_order
    if form == "paper":
        return "polca_paper_current" if settings.eigenvalue == "current" else "polca_paper"
    return {"trapezoid": "polca", "exact": "polca_exact", "none": "polca_first_order"}[form]


def _reading(settings: AnalysisSettings) -> Reading:
    return "standardised" if settings.standardise else "raw"


def analysis_page(directory: Path) -> Page:
    """The page of a folder that `polca analyze` wrote.

    Its one analysis is that of the strategy and the reading chosen: of trajectories standardised, which means each less
    its own mean over time and divided by its own standard deviation over time, or raw. Its clusters are named by their
    most frequent tokens, and a facet tells the most frequent tokens of all apart.

    Raises:
        PolcaError: no such folder, or a file in it is missing, damaged, or does not fit the others.
    """
    summary = read_summary(directory)
    path = directory / "projections.npz"
    projections = read_result(Projections.load, path)
    settings = settings_of(directory / "summary.json", projections)
    try:
        trajectories = decompose(projections, settings.strategy, settings.second_order, settings.eigenvalue)
    except PolcaError as error:
        raise PolcaError(f"{path}: does not fit summary.json ({error}): {AGAIN}") from error
    clusters = read_result(Clusters.load, directory / "clusters.npz")
    _check_clusters(directory / "clusters.npz", clusters, trajectories, projections)
    texts = read_result(TokenTexts.load, directory / "tokens.json")
    if len(texts) != projections.losses.shape[1]:
        raise PolcaError(f"{directory / 'tokens.json'}: {len(texts)} tokens, not those of projections.npz: {AGAIN}")
    table = _table(directory / "clusters.csv", clusters, texts.names)
    key, reading = _title(settings), _reading(settings)
    late = summary.get("unconverged")
    said = ""
    if trajectories.projected and isinstance(late, list):
        said = sentence(len(late), len(clusters.labels), settings.tolerance)
    views = [
        ClusterView(look(row), float(row["break_step"]), row["hidden"] == "True") for row in table.to_dict("records")
    ]
    shown = {settings.strategy: trajectories}
    # The page takes tokens' exact losses from trajectories of this name.
    shown.setdefault("loss", decompose(projections, "loss"))
    setting = Setting(
        id="analysis",
        title="Your checkpoints",
        note="Evaluation tokens of polca analyze.",
        flat_step=settings.flat_step,
        tokens=Tokens(texts.sequences, np.array(texts.sequence, np.int64), np.array(texts.place, np.int64)),
        steps=projections.steps,
        losses=projections.losses,
        facets=[_facet(texts.names), *_joint_facets(directory, len(texts.names))],
        trajectories={name: quantise(found, SHOWN_VALUES) for name, found in shown.items()},
        analyses=[analysis_view(key, reading, settings.strategy, settings.strategy, clusters, views, convergence=said)],
        token_map=token_map(trajectories, clusters.vector_kept, settings.strategy),
    )
    return Page("Hidden breakthroughs", f"results of polca analyze, {directory.resolve().name}", [setting])
