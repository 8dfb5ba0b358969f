"""Every scalar that the paper's text quotes, and what belongs beside it: `paper/<preset>/metrics_all.json`."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from polca.machine.files import write_json
from polca.method.breakthrough import hidden_fraction
from polca.report.tables.formats import finite
from polca.report.tables.parameters import training_tokens
from polca.study.results import EnglishResults, PresetResults, Results
from polca.tasks.arithmetic.scores import ANALYSES, SCORES, three_best
from polca.typing import Reading

Number = float | int | None
R = TypeVar("R", Results, EnglishResults)

QUOTED_OF_POLCA = ("dropped_vectors", "vectors_with_simple_label", "mean_dropped_tokens")
"""Numbers of `summary.json`, below `analyses.polca`, that the paper quotes of English."""


def _numbers(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Number]]:
    """The numbers of a nested mapping by their joined names; text is left out."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}_")
        elif value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            yield f"{prefix}{key}", None if value is None else finite(value)


def _flat(results: Results | EnglishResults, *parts: Mapping[str, Any]) -> dict[str, Number]:
    """The numbers of all parts, a later one's first, and of both settings', by names that begin with the setting's."""
    both = {"training_tokens": training_tokens(results), "last_plotted_step": results.param("plots.last_step")}
    found = {name: number for part in (*parts, both) for name, number in _numbers(part, f"{results.setting}_")}
    return dict(sorted(found.items()))


def _other(results: R, of_clusters: Callable[[R], Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """By its name, the scalars of the reading that figures do not show."""
    others = [reading for reading in get_args(Reading) if reading != results.reading]
    return {reading: of_clusters(results.of_reading(reading)) for reading in others}


def _of_analysis(results: Results, analysis: str) -> dict[str, float | int]:
    """Best cluster, breakthroughs and outliers of one analysis."""
    best = three_best(results.clusters, analysis)
    vectors = results.vectors[(results.vectors["analysis"] == analysis) & results.vectors["kept"].astype(bool)]
    tried = int((vectors["n_outliers"] + vectors["n_clustered"]).sum())
    hidden, clusters = hidden_fraction(results.clusters, analysis)
    return {
        **{f"best_{score}": float(best[score].iloc[0]) if len(best) else float("nan") for score in SCORES},
        "clusters": clusters,
        "fraction_hidden": hidden,
        "fraction_hidden_onset": hidden_fraction(results.clusters, analysis, "hidden_onset")[0],
        "fraction_hidden_published_constants": hidden_fraction(results.clusters, analysis, "hidden_published")[0],
        "outlier_fraction": int(vectors["n_outliers"].sum()) / tried if tried else float("nan"),
    }


def metrics(results: Results) -> dict[str, Number]:
    """All scalars by name, sorted, with six significant digits; None where one is not defined.

    `data/published.yaml` lists the published ones under the same names. Numbers of clusters are of the reading that
    figures show; those of the other reading have its name before the analysis'.

    - everything in `summary.json`, nested names joined by underscores;
    - of every analysis the best cluster's scores, the number of clusters, the fraction with a hidden breakthrough (as
      printed, and sign-corrected), and the fraction of the tokens given to HDBSCAN that it left as outliers;
    - under `directions` what all vectors together tell apart: neighbours with the same label, and the adjusted Rand
      index of the map's clusters;
    - of POLCA: vectors dropped as rising, vectors with clusters, mean tokens dropped as rising per kept vector, the
      best AUC of carry by place, the best homogeneity of vector 2.
    """
    directions = {"directions": _of_directions(results)}
    return _flat(results, results.summary, _of_clusters(results), _other(results, _of_clusters), directions)


def _of_directions(results: Results | EnglishResults) -> dict[str, Any]:
    """Of everything that is compared, by label: neighbours that agree, and the map's adjusted Rand index."""
    scores, joint = results.signature_table("signatures"), results.signature_table("joint")
    found = {f"neighbours_{r['analysis']}_{r['label']}": float(r["agreement"]) for r in scores.to_dict("records")}
    return found | {f"ari_{r['analysis']}_{r['label']}": float(r["ari"]) for r in joint.to_dict("records")}


def _of_clusters(results: Results) -> dict[str, Any]:
    """The scalars of one reading's clusters."""
    polca = results.vectors[results.vectors["analysis"] == "polca"]
    kept = polca[polca["kept"].astype(bool)]
    second = polca.loc[polca["vector"] == 2, "best_homogeneity"].astype(float)
    others: dict[str, float | int] = {
        "dropped_vectors": len(polca) - len(kept),
        "vectors_with_clusters": int((kept["n_clusters"] > 0).sum()),
        "mean_dropped_tokens": float(kept["n_dropped"].mean()),
        "vector_2_homogeneity": float(second.iloc[0]) if len(second) else float("nan"),
        **{f"best_auc_{place}": float(kept[f"auc_{place}"].max()) for place in ("1000s", "100s", "10s")},
    }
    present = [analysis for analysis in ANALYSES if analysis in set(results.vectors["analysis"])]
    return {**{analysis: _of_analysis(results, analysis) for analysis in present}, **others}


def english_metrics(results: EnglishResults) -> dict[str, Number]:
    """All scalars of the English setting, as `metrics`.

    - everything in `summary.json`, that of each analysis under the analysis' name;
    - under the names of `data/published.yaml` what the paper quotes and the summary has elsewhere or not: the tokens
      predicted in training, and of POLCA the vectors dropped as rising, those with a simply labelled cluster, and the
      mean number of tokens dropped as rising per kept vector.
    """
    facts = {name: value for name, value in results.summary.items() if name != "analyses"}
    directions = {"directions": _of_directions(results)}
    return _flat(results, facts, _of_english(results), _other(results, _of_english), directions)


def _of_english(results: EnglishResults) -> dict[str, Any]:
    """The scalars of one reading's clusters."""
    others = {name: results.scalar(f"analyses.polca.{name}") for name in QUOTED_OF_POLCA}
    return {**results.entry("analyses"), **others}


def save_metrics(results: PresetResults, path: Path) -> Path:
    """Write `metrics` and `english_metrics`, as far as the preset has them, as one JSON object with sorted keys."""
    addition = {} if results.arithmetic is None else metrics(results.arithmetic)
    write_json(path, addition | ({} if results.english is None else english_metrics(results.english)))
    return path
