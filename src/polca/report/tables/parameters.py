"""Tables 2–7: the parameters of this preset beside the published ones, model and training first."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from polca.report.tables.formats import text, tidy
from polca.study.results import EnglishResults, Results
from polca.tasks.arithmetic.data import OUTPUT_DIGITS
from polca.tasks.english.text import BEFORE

COLUMNS = dict.fromkeys(("setting", "parameter", "value", "published", "note"), "str")

Row = tuple[str, str, str | None, str]
"""Name, parameter below the setting's section of params.yaml (or `=` and the name of a value that follows from others),
key of the published value, remark, in which `{key}` is a published value."""

# --- Of both settings -------------------------------------------------------------------------------------------------

_COUNTED = "published value follows from the parameter count"
MODEL: tuple[Row, ...] = (
    ("layers", "model.layers", "layers", _COUNTED),
    ("width", "model.width", "width", _COUNTED),
    ("attention heads", "model.heads", "heads", _COUNTED),
    ("MLP width", "model.mlp_width", "mlp_width", _COUNTED),
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
_FORMS = "eq. 4 as printed is `paper`; `trapezoid` is what it reduces to where eq. 13 holds"
_EIGENVALUES = "for the form `paper` only; `basis`: λ of the step at which the vector was computed"
SECOND_ORDER: tuple[Row, ...] = (
    ("second-order term", "polca.second_order", None, _FORMS),
    ("eigenvalue", "polca.eigenvalue", None, _EIGENVALUES),
)
HDBSCAN: tuple[Row, ...] = (
    ("min_cluster_size", "clustering.min_cluster_size", "min_cluster_size", "tokens"),
    ("min_samples", "=min_samples", "min_samples", "n: tokens left by the filter"),
)

# --- Tables -----------------------------------------------------------------------------------------------------------

_SPREAD = (
    "steps, on average: spread evenly over training; published {basis_vectors} × {basis_interval} = "
    "{basis_steps:,} steps exceed the {steps:,} of training"
)
_VOCABULARY = "with <PAD>; published as 30,000, but the parameter count takes one more"
_CONTEXTS = "contexts; published value follows from the evaluation tokens"
_FLAT = "step (eq. 10): the mean exact loss counts as flat; follows from the next line"
_FALL = "share of the whole fall, as our run at the published scale had made by the published τ"
_FINER = "tokens; of the analyses polca_fine and loss_fine, ours"
_TARGETS = f"evaluation set × (context − {BEFORE - 1}): targets with {BEFORE} tokens before them"

ROWS: Mapping[int, Sequence[Row]] = {
    2: (
        *MODEL,
        ("parameters", "=parameters", "parameters", ""),
        ("steps", "training.steps", "steps", ""),
        ("batch size", "training.batch_size", "batch_size", "additions"),
        ("training tokens", "=training_tokens", "training_tokens", "steps × batch size × 4 output tokens"),
        *OPTIMIZER,
    ),
    3: (
        ("basis interval", "basis.interval", "basis_interval", "steps; the first basis checkpoint is one interval in"),
        *EIGENVECTORS,
        ("Hessian sample", "basis.hessian_examples", "hessian_examples", "training additions"),
        ("evaluation set", "data.evaluation_examples", "evaluation_examples", "additions"),
        ("evaluation tokens", "=evaluation_tokens", "evaluation_tokens", "evaluation set × 4 output tokens"),
        ("POLCA interval", "polca.interval", "polca_interval", "steps; the paper's text says 20, twice"),
        *SECOND_ORDER,
        ("LCA parameters", "basis.lca_parameters", "lca_parameters", "largest in magnitude at the end of training"),
    ),
    4: (
        *HDBSCAN,
        ("τ", "=flat_step", "flat_step", _FLAT),
        ("fall of the mean loss by τ", "breakthroughs.fall", None, _FALL),
        ("Δ", "breakthroughs.delta", "delta", "steps (eq. 9)"),
    ),
    5: (
        ("corpus", "=corpus", "corpus", ""),
        ("SHA-256 of the corpus", "=sha256", None, ""),
        *MODEL,
        ("context", "data.context", "context", "tokens; published value follows from the training tokens"),
        ("vocabulary", "data.vocabulary", "vocabulary", _VOCABULARY),
        ("parameters", "=parameters", "parameters", ""),
        ("steps", "training.steps", "steps", ""),
        ("batch size", "training.batch_size", "batch_size", "contexts"),
        ("training tokens", "=training_tokens", "training_tokens", "steps × batch size × context"),
        ("tokens of the training text", "=stream_tokens", None, ""),
        ("epochs", "=epochs", "epochs", "passes over the training text"),
        *OPTIMIZER,
    ),
    6: (
        ("basis checkpoint every", "=basis_interval", "basis_interval", _SPREAD),
        *EIGENVECTORS,
        ("Hessian sample", "basis.hessian_examples", "hessian_examples", "training contexts"),
        ("evaluation set", "data.evaluation_contexts", "evaluation_contexts", _CONTEXTS),
        ("evaluation tokens", "=evaluation_tokens", "evaluation_tokens", _TARGETS),
        ("POLCA interval", "polca.interval", "polca_interval", "steps"),
        *SECOND_ORDER,
    ),
    7: (
        *HDBSCAN,
        ("min_cluster_size, finer", "clustering.finer.min_cluster_size", None, _FINER),
        ("min_samples, finer", "=finer_min_samples", None, "n: tokens left by the filter"),
        ("clusters in Figures 5, 10, 11", "=shown", None, "polca: as published; polca_fine: finer"),
        ("τ", "=flat_step", None, _FLAT),
        ("fall of the mean loss by τ", "breakthroughs.fall", None, _FALL),
        ("Δ", "breakthroughs.delta", None, "steps (eq. 9)"),
        ("tagger", "labels.pipeline", None, "spaCy pipeline; the paper names only spaCy"),
        ("tags cover", "labels.coverage", "coverage", "of a cluster, at each of four places"),
        ("tags of a simple label", "labels.simple_tags", "simple_tags", "at most, at some place"),
    ),
}


def parameters_table(results: Results | EnglishResults, number: int) -> pd.DataFrame:
    """One of Tables 2–4 (addition) and 5–7 (English): training; basis and trajectories; HDBSCAN, eqs. 9 and 10.

    Raises:
        PolcaError: a parameter, a published value or a result file is missing or damaged.
    """
    part = f"table_{number:02d}"
    published = _english_published(results) if isinstance(results, EnglishResults) else results.published_part(part)
    derived = _derived(results)
    rows = []
    for name, parameter, key, remark in ROWS[number]:
        follows = parameter.startswith("=")
        value = derived[parameter[1:]] if follows else results.param(parameter)
        known = published[key] if key else None
        rows.append(
            {
                "setting": name,
                "parameter": "" if follows else f"{results.setting}.{parameter}",
                "value": text(value),
                "published": text(known),
                "note": "; ".join(words for words in (_scale(value, known), remark.format(**published)) if words),
            }
        )
    return tidy(rows, COLUMNS)


def _scale(value: Any, published: Any) -> str:
    """How a value relates to the paper's."""
    if published is None:
        return "not given in the paper"
    if value == published:
        return "as published"
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in (value, published)) and published:
        return f"{value / published:.3g} × the published value"
    return "differs from the published value"


# --- What follows from others -----------------------------------------------------------------------------------------


def training_tokens(results: Results | EnglishResults) -> int:
    """Tokens predicted in training: steps × batch size × those of a sequence."""
    targets = OUTPUT_DIGITS if isinstance(results, Results) else results.param("data.context")
    return int(results.param("training.steps") * results.param("training.batch_size") * targets)


def _derived(results: Results | EnglishResults) -> dict[str, Any]:
    """Values that follow from parameters, or from the corpus."""
    param = results.param
    both = {
        "training_tokens": training_tokens(results),
        "optimizer": "AdamW",
        "parameters": results.scalar("parameters"),
        "flat_step": results.scalar("flat_step"),
        "min_samples": f"n/{param('clustering.min_samples_divisor')}",
    }
    if isinstance(results, Results):
        evaluation_tokens = param("data.evaluation_examples") * OUTPUT_DIGITS
        return {**both, "evaluation_tokens": evaluation_tokens}
    return {
        **both,
        "corpus": results.fact("title"),
        "sha256": results.fact("sha256"),
        "stream_tokens": results.fact("training_tokens"),
        "epochs": results.fact("epochs"),
        "basis_interval": param("training.steps") / param("basis.vectors"),
        "evaluation_tokens": param("data.evaluation_contexts") * (param("data.context") + 1 - BEFORE),
        "finer_min_samples": f"n/{param('clustering.finer.min_samples_divisor')}",
        "shown": results.shown_analysis,
    }


def _english_published(results: EnglishResults) -> dict[str, Any]:
    """Published values of Tables 5–7, and those that follow from them or stand in the text (§5)."""
    training, polca, clustering = (results.published_part(f"table_{number:02d}") for number in (5, 6, 7))
    context = training["training_tokens"] // (training["steps"] * training["batch_size"])
    model = results.published_part("table_02")  # with these sizes the parameter count comes out, to the last one
    return {
        **{name: model[name] for name in ("layers", "width", "heads", "mlp_width")},
        **training,
        **polca,
        **clustering,
        "vocabulary": training["vocabulary"] + 1,
        "context": context,
        "evaluation_contexts": polca["evaluation_tokens"] // (context + 1 - BEFORE),
        "basis_steps": polca["basis_vectors"] * polca["basis_interval"],
    }
