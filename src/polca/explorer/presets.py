"""Pages from the result files of a preset."""

from collections.abc import Callable, Mapping, Sequence
from typing import get_args

import pandas as pd

from polca.errors import PolcaError
from polca.explorer import skills, speech
from polca.explorer.convergence import of_basis
from polca.explorer.packing import TokenTrajectories, quantise
from polca.explorer.schema import Analysis, ClusterView, Facet, Page, Setting, Tokens
from polca.explorer.token_map import token_map
from polca.machine.files import read_npz
from polca.method.clustering import Clusters
from polca.report.figures.roles import looks as role_looks
from polca.report.figures.selection import with_clusters
from polca.report.figures.skills import looks as skill_looks
from polca.report.figures.style import Look
from polca.study.archive import Archive
from polca.study.paths import PresetPaths
from polca.study.published_run import RunFacts, arithmetic_task, as_run, english_task
from polca.study.results import PresetResults, TaskResults
from polca.study.settings import Preset
from polca.tasks.task import Task
from polca.typing import Reading

SHOWN_VALUES, OTHER_VALUES = 3_000_000, 400_000
"""Values that the token trajectories of one analysis may have: of the one that the figures show, of each other."""

TITLES: Mapping[str, tuple[str, str]] = {
    "polca": ("POLCA", "Projected loss along Hessian eigenvectors, second order."),
    "polca_fine": ("POLCA, finer clusters", "The same projected losses with a finer clustering than the paper's."),
    "polca_first_order": ("POLCA, first order", "Projected loss from gradients alone (eq. 2)."),
    "polca_paper": ("POLCA, eq. 4 to the letter", "The eigenvalue is fixed at the step where the vector was computed."),
    "polca_paper_current": ("POLCA, eq. 4 with λ at every step", "The eigenvalue is that of the current step."),
    "polca_exact": ("POLCA, exact curvature", "The second-order term uses every token's own curvature."),
    "polca_random": ("POLCA, random basis", "Projected loss along random orthonormal directions."),
    "polca_shuffled_hessian": ("POLCA, shuffled checkpoints", "The basis was made from checkpoints in random order."),
    "fisher": ("Fisher information", "Squared gradient along Hessian eigenvectors, step by step."),
    "lca": ("LCA", "Loss change allocated to single parameters, those that are largest at the end."),
    "loss": ("Exact loss", "The tokens' own losses; no direction of weight space."),
    "loss_fine": ("Exact loss, finer clusters", "The same losses with a finer clustering than the paper's."),
    "loss_change": ("Change of the exact loss", "From one checkpoint to the next; no direction of weight space."),
}
"""Titles and notes of the analyses."""

READINGS: Mapping[Reading, tuple[str, str]] = {
    "standardised": (
        "standardised",
        "HDBSCAN sees each trajectory standardised: minus its own mean over time, divided by its own "
        "standard deviation over time: shapes instead of sizes.",
    ),
    "raw": ("raw trajectories", "HDBSCAN sees each trajectory as it is, size and shape."),
}
"""What follows the title of an analysis in each reading, and its note."""

QUANTITIES: Mapping[str, tuple[str, str]] = {
    "loss": ("exact loss", "nats"),
    "loss_change": ("change of exact loss", "nats"),
    "fisher": ("Fisher information", "nats² per squared weight"),
}
"""What is clustered, and its unit, by strategy; projected loss in nats otherwise."""


Looks = Callable[[pd.DataFrame], list[Look]]
"""Looks of one vector's clusters (rows of `clusters.csv`), as in the figures."""


def analysis_view(
    name: str,
    reading: Reading,
    strategy: str,
    trajectories: str,
    clusters: Clusters,
    views: Sequence[ClusterView],
    *,
    other: bool = False,
    convergence: str = "",
) -> Analysis:
    """An analysis under its title, with what is clustered.

    Args:
        name: a key of `TITLES`.
        other: in another reading than the one that the page shows first, which has the plain name as its id.
        convergence: how exact its vectors are, in a sentence.
    """
    title, note = TITLES.get(name, (name, ""))
    words, sentence = READINGS[reading]
    quantity, unit = QUANTITIES.get(strategy, ("projected loss", "nats"))
    return Analysis(
        id=f"{name}.{reading}" if other else name,
        title=title,
        reading=words,
        note=f"{note} {sentence}".strip(),
        quantity=quantity,
        unit=unit,
        trajectories=trajectories,
        clusters=clusters,
        views=views,
        convergence=convergence,
    )


def _views(results: TaskResults, name: str, clusters: Clusters, looks: Looks) -> list[ClusterView]:
    """The clusters of an analysis as `clusters.csv` has them."""
    table = results.clusters[results.clusters["analysis"] == name]
    columns = [name for name in ("break_step", "hidden", "homogeneity", "eligible") if name in table]
    rows = table.set_index(["vector", "cluster"])[columns].to_dict("index")
    found = {(vector, look.number): look for vector, own in table.groupby("vector") for look in looks(own)}
    views = []
    for vector, number in zip(clusters.cluster_vector + 1, clusters.cluster_index, strict=True):
        if (vector, number) not in found:
            raise PolcaError(
                f"{results.paths.table('clusters')}: lacks cluster {number} of vector {vector} of {name}: "
                f"run stage cluster@{results.setting} again"
            )
        row = rows[vector, number]
        pure = float(row["homogeneity"]) if row.get("eligible") else float("nan")
        views.append(ClusterView(found[vector, number], float(row["break_step"]), bool(row["hidden"]), pure))
    return views


def _setting(
    results: TaskResults, task: Task, note: str, tokens: Tokens, facets: Sequence[Facet], looks: Looks
) -> Setting:
    """A setting of a preset: what its figures show, then their reading, then the other one."""
    first = with_clusters(results)

    def rank(found: tuple[TaskResults, str]) -> tuple[bool, bool, bool]:
        own, name = found
        shown = (own.reading, name) == (first.reading, first.shown_analysis)
        return not shown, own.reading != results.reading, name != results.shown_analysis

    readings = [results.of_reading(reading) for reading in get_args(Reading)]
    present = [(own, str(name)) for own in readings for name in own.vectors["analysis"].unique()]
    quantised: dict[str, TokenTrajectories] = {}
    analyses: list[Analysis] = []
    mapped = None
    for own, name in sorted(present, key=rank):
        if name not in task.analyses:
            continue
        analysis = task.analyses[name]
        # Analyses that differ in their clustering alone share their trajectories, as the two readings do.
        key = next(other for other, same in task.analyses.items() if same == analysis)
        found = None if key in quantised else Archive.load(own.paths.trajectory(name)).trajectories()
        clusters = own.curves(name)
        if found is not None:
            if not quantised:
                mapped = token_map(found, clusters.vector_kept, key)
            quantised[key] = quantise(found, SHOWN_VALUES if name in (first.shown_analysis, "loss") else OTHER_VALUES)
        views = _views(own, name, clusters, looks)
        other = own.reading != results.reading
        # Only eigenvectors along which something is projected: the exact loss has no basis.
        tolerance = task.settings.basis.tolerance
        said = of_basis(own.paths.basis(analysis.basis), tolerance) if analysis.basis else ""
        analyses.append(
            analysis_view(name, own.reading, analysis.strategy, key, clusters, views, other=other, convergence=said)
        )
    return Setting(
        id=results.setting,
        title=results.setting.capitalize(),
        note=note,
        flat_step=results.losses.flat_step(task.settings.breakthroughs.fall),
        tokens=tokens,
        steps=results.losses.steps,
        losses=results.losses.losses,
        facets=facets,
        trajectories=quantised,
        analyses=analyses,
        token_map=mapped,
    )


def preset_page(paths: PresetPaths) -> Page:
    """The page of a preset, with those of its settings that have been run.

    Raises:
        PolcaError: none has, or a result file is missing or damaged.
    """
    read, runs = Preset.read(paths), RunFacts.load(paths)
    preset = as_run(read)

    def note(task: str, words: str) -> str:
        return f"{words} {runs.tasks[task].words}" if runs and task in runs.tasks else words

    results = PresetResults.of(paths, preset.params)
    settings = []
    if (own := results.arithmetic) is not None and own.paths.results.is_dir():
        tokens, facets = skills.tokens(own.evaluation.tokens), skills.facets(own.evaluation)
        said = note("arithmetic", "Output digits of three-digit additions.")
        settings.append(_setting(own, arithmetic_task(read), said, tokens, facets, skill_looks))
    if (english := results.english) is not None and english.paths.results.is_dir():
        task, said = english_task(read), note("english", "Tokens of running text.")
        text = task.tagged_text(read_npz(english.paths.labels))
        tokens, facets = speech.tokens(text), speech.facets(text)
        settings.append(_setting(english, task, said, tokens, facets, role_looks))
    if not settings:
        own_text = any(source.data == f"data/corpora/{paths.name}" for source in preset.sources.values())
        corpus = " CORPUS=<directory of .txt or .txt.gz files>" if own_text else ""
        raise PolcaError(f"preset {paths.name}: no results to show: run `make repro PRESET={paths.name}{corpus}`")
    return Page("Hidden breakthroughs", f"preset {paths.name}", settings)
