"""Tables 2–4: the settings of this preset beside the published ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from polca.report.tables.formats import text, tidy
from polca.study.results import Results, SettingResults
from polca.tasks.arithmetic.data import OUTPUT_DIGITS

COLUMNS = dict.fromkeys(("setting", "parameter", "value", "published", "note"), "str")

# Setting, parameter below the setting's section of params.yaml (or `=` and a name of the derived ones), key of the
# published value, remark.
Row = tuple[str, str, str | None, str]

# --- Of both settings -------------------------------------------------------------------------------------------------

MODEL: tuple[Row, ...] = (
    ("layers", "model.layers", "layers", "published value follows from the parameter count"),
    ("width", "model.width", "width", "published value follows from the parameter count"),
    ("attention heads", "model.heads", "heads", "published value follows from the parameter count"),
    ("MLP width", "model.mlp_width", "mlp_width", "published value follows from the parameter count"),
)
OPTIMIZER: tuple[Row, ...] = (
    ("optimizer", "=optimizer", "optimizer", ""),
    ("betas", "training.betas", "betas", ""),
    ("weight decay", "training.weight_decay", "weight_decay", ""),
    ("learning rate", "training.learning_rate", "learning_rate", "constant after warm-up"),
    ("warm-up steps", "training.warmup_steps", "warmup_steps", ""),
    ("checkpoint interval", "training.checkpoint_interval", None, "steps"),
    ("seed", "seed", None, ""),
)
EIGENVECTORS: tuple[Row, ...] = (
    ("basis checkpoints T", "basis.vectors", "basis_vectors", ""),
    ("eigenvectors per checkpoint k", "basis.per_step", "vectors_per_step", ""),
    ("top eigenvectors by", "basis.which", None, ""),
    ("relative residual", "basis.tolerance", None, "of an eigenpair"),
)
SECOND_ORDER: tuple[Row, ...] = (
    (
        "second-order term",
        "polca.second_order",
        None,
        "eq. 4 as printed is `paper`; `trapezoid` is what it reduces to where eq. 13 holds",
    ),
    (
        "eigenvalue",
        "polca.eigenvalue",
        None,
        "for the form `paper` only; `basis`: λ of the step at which the vector was computed",
    ),
)
HDBSCAN: tuple[Row, ...] = (
    ("min_cluster_size", "clustering.min_cluster_size", "min_cluster_size", "tokens"),
    ("min_samples", "=min_samples", "min_samples", "n: tokens left by the filter"),
)
OPTIMIZER_NAME = "AdamW"


def min_samples(results: SettingResults) -> str:
    """HDBSCAN's min_samples, as the paper writes it."""
    return f"n/{results.param('clustering.min_samples_divisor')}"


# --- Arithmetic -------------------------------------------------------------------------------------------------------

TRAINING: tuple[Row, ...] = (
    *MODEL,
    ("parameters", "=parameters", "parameters", ""),
    ("steps", "training.steps", "steps", ""),
    ("batch size", "training.batch_size", "batch_size", "additions"),
    ("training tokens", "=training_tokens", "training_tokens", "steps × batch size × 4 output tokens"),
    *OPTIMIZER,
)
POLCA: tuple[Row, ...] = (
    ("basis interval", "basis.interval", "basis_interval", "steps; the first basis checkpoint is one interval in"),
    *EIGENVECTORS,
    ("Hessian sample", "basis.hessian_examples", "hessian_examples", "training additions"),
    ("evaluation set", "data.evaluation_examples", "evaluation_examples", "additions"),
    ("evaluation tokens", "=evaluation_tokens", "evaluation_tokens", "evaluation set × 4 output tokens"),
    ("POLCA interval", "polca.interval", "polca_interval", "steps; the paper's text says 20, twice"),
    *SECOND_ORDER,
    ("LCA parameters", "lca.parameters", "lca_parameters", "largest in magnitude at the end of training"),
)
CLUSTERING: tuple[Row, ...] = (
    *HDBSCAN,
    ("τ", "breakthroughs.flat_step", "flat_step", "step at which the mean exact loss is flat (eq. 10)"),
    ("Δ", "breakthroughs.delta", "delta", "steps (eq. 9)"),
)


def _derived(results: Results) -> dict[str, Any]:
    """Settings that follow from others."""
    param = results.param
    return {
        "parameters": results.scalar("parameters"),
        "training_tokens": param("training.steps") * param("training.batch_size") * OUTPUT_DIGITS,
        "evaluation_tokens": param("data.evaluation_examples") * OUTPUT_DIGITS,
        "optimizer": OPTIMIZER_NAME,
        "min_samples": min_samples(results),
    }


def _scale(value: Any, published: Any) -> str:
    """How a value relates to the paper's."""
    if published is None:
        return "not given in the paper"
    if value == published:
        return "as published"
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in (value, published)) and published:
        return f"{value / published:.3g} × the published value"
    return "differs from the published value"


def settings_table(
    results: SettingResults, rows: Sequence[Row], published: Mapping[str, Any], derived: Mapping[str, Any]
) -> pd.DataFrame:
    """Settings beside the published ones; `derived` holds those that follow from others, by name."""
    made = []
    for setting, name, key, remark in rows:
        value = derived[name[1:]] if name.startswith("=") else results.param(name)
        known = published[key] if key else None
        made.append(
            {
                "setting": setting,
                "parameter": "" if name.startswith("=") else f"{results.setting}.{name}",
                "value": text(value),
                "published": text(known),
                "note": "; ".join(part for part in (_scale(value, known), remark) if part),
            }
        )
    return tidy(made, COLUMNS)


def _settings(results: Results, number: int, rows: Sequence[Row]) -> pd.DataFrame:
    return settings_table(results, rows, results.published_part(f"table_{number:02d}"), _derived(results))


def table_02(results: Results) -> pd.DataFrame:
    """Table 2: model and training."""
    return _settings(results, 2, TRAINING)


def table_03(results: Results) -> pd.DataFrame:
    """Table 3: basis and trajectories."""
    return _settings(results, 3, POLCA)


def table_04(results: Results) -> pd.DataFrame:
    """Table 4: HDBSCAN, and eqs. 9 and 10."""
    return _settings(results, 4, CLUSTERING)
