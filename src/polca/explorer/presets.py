"""Pages from the result files of a preset."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from polca.errors import PolcaError
from polca.explorer import skills, speech
from polca.explorer.packing import TokenTrajectories, quantise
from polca.explorer.schema import Analysis, ClusterView, Facet, Page, Setting, Tokens
from polca.machine.files import read_npz
from polca.method.clustering import Clusters
from polca.report.figures.roles import looks as role_looks
from polca.report.figures.skills import looks as skill_looks
from polca.report.figures.style import Look
from polca.study.archive import Archive
from polca.study.paths import PresetPaths
from polca.study.results import PresetResults, TaskResults
from polca.study.settings import Preset
from polca.tasks.task import Task

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
    "loss_change": ("Change of the exact loss", "From one checkpoint to the next; no direction of weight space."),
}
"""Titles and notes of the analyses."""

QUANTITIES: Mapping[str, tuple[str, str]] = {
    "loss": ("exact loss", "nats"),
    "loss_change": ("change of exact loss", "nats"),
    "fisher": ("Fisher information", "nats² per squared weight"),
}
"""What is clustered, and its unit, by strategy; projected loss in nats otherwise."""


Looks = Callable[[pd.DataFrame], list[Look]]
"""Looks of one vector's clusters (rows of `clusters.csv`), as in the figures."""


def analysis_view(
    name: str, strategy: str, trajectories: str, clusters: Clusters, views: Sequence[ClusterView]
) -> Analysis:
    """An analysis under its title, with what is clustered."""
    return Analysis(
        name,
        *TITLES.get(name, (name, "")),
        *QUANTITIES.get(strategy, ("projected loss", "nats")),
        trajectories=trajectories,
        clusters=clusters,
        views=views,
    )


def _views(results: TaskResults, name: str, clusters: Clusters, looks: Looks) -> list[ClusterView]:
    """The clusters of an analysis as `clusters.csv` has them."""
    table = results.clusters[results.clusters["analysis"] == name]
    rows = table.set_index(["vector", "cluster"])[["break_step", "hidden"]].to_dict("index")
    found = {(vector, look.number): look for vector, own in table.groupby("vector") for look in looks(own)}
    views = []
    for vector, number in zip(clusters.cluster_vector + 1, clusters.cluster_index, strict=True):
        if (vector, number) not in found:
            raise PolcaError(
                f"{results.paths.table('clusters')}: lacks cluster {number} of vector {vector} of {name}: "
                f"run stage cluster@{results.setting} again"
            )
        row = rows[vector, number]
        views.append(ClusterView(found[vector, number], float(row["break_step"]), bool(row["hidden"])))
    return views


def _setting(
    results: TaskResults, task: Task, note: str, tokens: Tokens, facets: Sequence[Facet], looks: Looks
) -> Setting:
    """A setting of a preset, its shown analysis first."""
    quantised: dict[str, TokenTrajectories] = {}
    shown = []
    present = [str(name) for name in results.vectors["analysis"].unique() if name in task.analyses]
    for name in sorted(present, key=lambda name: name != results.shown_analysis):
        analysis = task.analyses[name]
        # Analyses that differ in their clustering alone share their trajectories.
        key = next(other for other, same in task.analyses.items() if same == analysis)
        if key not in quantised:
            most = SHOWN_VALUES if name in (results.shown_analysis, "loss") else OTHER_VALUES
            quantised[key] = quantise(Archive.load(results.paths.trajectory(name)).trajectories(), most)
        clusters = results.curves(name)
        shown.append(analysis_view(name, analysis.strategy, key, clusters, _views(results, name, clusters, looks)))
    return Setting(
        id=results.setting,
        title=results.setting.capitalize(),
        note=note,
        flat_step=task.settings.breakthroughs.flat_step,
        tokens=tokens,
        steps=results.losses.steps,
        losses=results.losses.losses,
        facets=facets,
        trajectories=quantised,
        analyses=shown,
    )


def preset_page(paths: PresetPaths) -> Page:
    """The page of a preset, with those of its settings that have been run.

    Raises:
        PolcaError: none has, or a result file is missing or damaged.
    """
    preset = Preset.read(paths)
    results = PresetResults.of(paths, preset.params)
    settings = []
    if (own := results.arithmetic) is not None and own.paths.results.is_dir():
        tokens, facets = skills.tokens(own.evaluation.tokens), skills.facets(own.evaluation)
        note = "Output digits of three-digit additions."
        settings.append(_setting(own, preset.arithmetic(), note, tokens, facets, skill_looks))
    if (english := results.english) is not None and english.paths.results.is_dir():
        task = preset.english()
        text = task.tagged_text(read_npz(english.paths.labels))
        tokens, facets = speech.tokens(text), speech.facets(text)
        settings.append(_setting(english, task, "Tokens of running text.", tokens, facets, role_looks))
    return Page("Hidden breakthroughs", f"preset {paths.name}", settings)
