"""Pages from the result files of a preset."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from polca.errors import PolcaError
from polca.explorer import skills, speech
from polca.explorer.packing import TokenTrajectories, quantise
from polca.explorer.schema import Analysis, ClusterView, Page, Setting
from polca.machine.files import read_params
from polca.method.clustering import Clusters
from polca.method.decomposition import decompose
from polca.method.projections import Projections
from polca.report.figures.style import Look
from polca.study import english_analyses
from polca.study.analyses import trajectories_of
from polca.study.english_settings import EnglishSettings, read_english
from polca.study.paths import PresetPaths
from polca.study.results import EnglishResults, Results, SettingResults
from polca.study.settings import ArithmeticSettings, read_arithmetic
from polca.tasks.arithmetic.scores import ANALYSES
from polca.tasks.english.scores import TaggedText

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


def _analysis(
    results: SettingResults, name: str, strategy: str, key: str, clusters: Clusters, looks: Mapping[int, list[Look]]
) -> Analysis:
    """An analysis with the looks of its clusters, given by vector."""
    own = results.clusters[results.clusters["analysis"] == name].to_dict("records")
    rows = {(int(row["vector"]), int(row["cluster"])): row for row in own}
    views = []
    for m in range(len(clusters)):
        vector, number = int(clusters.cluster_vector[m]) + 1, int(clusters.cluster_index[m])
        found = [look for look in looks.get(vector, []) if look.number == number]
        if not found:
            raise PolcaError(
                f"{results.paths.cluster_table}: lacks cluster {number} of vector {vector} of {name}: "
                f"run stage {results.setting}_cluster again"
            )
        look, row = found[0], rows[vector, number]
        views.append(
            ClusterView(
                name=look.name,
                color=look.color,
                text_color=look.text_color,
                dashes=() if isinstance(look.dashes, str) else look.dashes[1],
                fit=float(getattr(look, "fit", 0.0)),
                break_step=float(row["break_step"]),
                hidden=bool(row["hidden"]),
            )
        )
    quantity, unit = QUANTITIES.get(strategy, ("projected loss", "nats"))
    title, note = TITLES.get(name, (name, ""))
    return Analysis(name, title, note, quantity, unit, key, clusters, views)


def _names(results: SettingResults, known: Mapping[str, Any]) -> list[str]:
    """The analyses of the result files, the shown one first."""
    present = [str(name) for name in results.vectors["analysis"].unique() if name in known]
    return sorted(present, key=lambda name: name != results.shown_analysis)


def _by_vector(results: SettingResults, name: str) -> dict[int, pd.DataFrame]:
    rows = results.clusters[results.clusters["analysis"] == name]
    return {int(str(vector)): table for vector, table in rows.groupby("vector")}


def _most(results: SettingResults, name: str) -> int:
    return SHOWN_VALUES if name in (results.shown_analysis, "loss") else OTHER_VALUES


def arithmetic_setting(results: Results, settings: ArithmeticSettings) -> Setting:
    """The arithmetic setting of a preset.

    Raises:
        PolcaError: a result file is missing, damaged, or does not fit the others.
    """
    names = _names(results, ANALYSES)
    bases = {"hessian", *(ANALYSES[name][0] for name in names)} - {"none"}
    projections = {b: Projections.load(results.paths.projections / f"{b}.npz") for b in sorted(bases)}
    analyses, trajectories = [], {}
    for name in names:
        trajectories[name] = quantise(trajectories_of(name, projections, settings), _most(results, name))
        looks = {vector: skills.looks(table) for vector, table in _by_vector(results, name).items()}
        analyses.append(_analysis(results, name, ANALYSES[name][1], name, results.curves(name), looks))
    evaluation, exact = results.evaluation, results.losses
    return Setting(
        id="arithmetic",
        title="Arithmetic",
        note="Output digits of three-digit additions.",
        flat_step=settings.breakthroughs.flat_step,
        tokens=skills.tokens(evaluation.tokens),
        steps=exact.steps,
        losses=exact.losses,
        facets=skills.facets(evaluation),
        trajectories=trajectories,
        analyses=analyses,
    )


def english_setting(results: EnglishResults, settings: EnglishSettings) -> Setting:
    """The English setting of a preset.

    Raises:
        PolcaError: a result file is missing, damaged, or does not fit the others.
    """
    names, paths = _names(results, english_analyses.ANALYSES), results.paths
    projections, text = Projections.load(paths.projections), TaggedText.read(paths, settings)
    analyses: list[Analysis] = []
    trajectories: dict[str, TokenTrajectories] = {}
    for name in names:
        # Analyses that differ in their clustering alone share their trajectories; the shown one comes first.
        strategy = english_analyses.ANALYSES[name]
        if strategy not in trajectories:
            found = decompose(projections, strategy, settings.polca.second_order, settings.polca.eigenvalue)
            trajectories[strategy] = quantise(found, _most(results, name))
        looks = {vector: speech.looks(table) for vector, table in _by_vector(results, name).items()}
        analyses.append(_analysis(results, name, strategy, strategy, results.curves(name), looks))
    exact = results.losses
    return Setting(
        id="english",
        title="English",
        note="Tokens of running text.",
        flat_step=settings.breakthroughs.flat_step,
        tokens=speech.tokens(text),
        steps=exact.steps,
        losses=exact.losses,
        facets=speech.facets(text),
        trajectories=trajectories,
        analyses=analyses,
    )


def preset_page(paths: PresetPaths) -> Page:
    """The page of a preset, with those of its settings that have been run.

    Raises:
        PolcaError: none has, or a result file is missing or damaged.
    """
    params = read_params(paths.params)
    settings = []
    if paths.arithmetic.directory.is_dir():
        arithmetic = Results(paths.arithmetic.directory, params)
        settings.append(arithmetic_setting(arithmetic, read_arithmetic(paths.params)))
    if paths.english.directory.is_dir():
        english = EnglishResults(paths.english.directory, params)
        settings.append(english_setting(english, read_english(paths.params)))
    return Page("Hidden breakthroughs", f"preset {paths.name}", settings)
