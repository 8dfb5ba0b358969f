"""Tables 5–7: the settings of the English part of this preset beside the published ones."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from polca.report.tables.settings import (
    EIGENVECTORS,
    HDBSCAN,
    MODEL,
    OPTIMIZER,
    OPTIMIZER_NAME,
    SECOND_ORDER,
    Row,
    min_samples,
    settings_table,
)
from polca.study.results import EnglishResults
from polca.tasks.english.text import BEFORE, model_config
from polca.tasks.transformer import parameter_count

TRAINING: tuple[Row, ...] = (
    ("corpus", "=corpus", "corpus", ""),
    ("SHA-256 of the corpus", "=sha256", None, ""),
    *MODEL,
    ("context", "model.context", "context", "tokens; published value follows from the training tokens"),
    (
        "vocabulary",
        "tokenizer.vocabulary",
        "vocabulary",
        "with <PAD>; published as 30,000, but the parameter count takes one more",
    ),
    ("parameters", "=parameters", "parameters", ""),
    ("steps", "training.steps", "steps", ""),
    ("batch size", "training.batch_size", "batch_size", "contexts"),
    ("training tokens", "=training_tokens", "training_tokens", "steps × batch size × context"),
    ("tokens of the training text", "=stream_tokens", None, ""),
    ("epochs", "=epochs", "epochs", "passes over the training text"),
    *OPTIMIZER,
)
CLUSTERING: tuple[Row, ...] = (
    *HDBSCAN,
    ("min_cluster_size, finer", "finer.min_cluster_size", None, "tokens; of the analysis polca_fine, ours"),
    ("min_samples, finer", "=finer_min_samples", None, "n: tokens left by the filter"),
    ("clusters in Figures 5, 10, 11", "=shown", None, "polca: as published; polca_fine: finer"),
    ("τ", "breakthroughs.flat_step", None, "step at which the mean exact loss counts as flat (eq. 10)"),
    ("Δ", "breakthroughs.delta", None, "steps (eq. 9)"),
    ("tagger", "tagging.pipeline", None, "spaCy pipeline; the paper names only spaCy"),
    ("tags cover", "labels.coverage", "coverage", "of a cluster, at each of four places"),
    ("tags of a simple label", "labels.simple_tags", "simple_tags", "at most, at some place"),
)


def _polca(published: dict[str, Any]) -> tuple[Row, ...]:
    vectors, interval, steps = (published[key] for key in ("basis_vectors", "basis_interval", "steps"))
    spread = (
        "steps, on average: spread evenly over training; "
        f"published {vectors} × {interval} = {vectors * interval:,} steps exceed the {steps:,} of training"
    )
    return (
        ("basis checkpoint every", "=basis_interval", "basis_interval", spread),
        *EIGENVECTORS,
        ("Hessian sample", "basis.hessian_examples", "hessian_examples", "training contexts"),
        (
            "evaluation set",
            "data.evaluation_contexts",
            "evaluation_contexts",
            "contexts; published value follows from the evaluation tokens",
        ),
        (
            "evaluation tokens",
            "=evaluation_tokens",
            "evaluation_tokens",
            f"evaluation set × (context − {BEFORE - 1}): targets with {BEFORE} tokens before them",
        ),
        ("POLCA interval", "polca.interval", "polca_interval", "steps"),
        *SECOND_ORDER,
    )


def training_tokens(results: EnglishResults) -> int:
    """Tokens predicted in training: steps × batch size × context."""
    return int(results.param("training.steps") * results.param("training.batch_size") * results.param("model.context"))


def parameters(results: EnglishResults) -> int:
    """Number of parameters of the model."""
    sizes = ("context", "layers", "width", "heads", "mlp_width")
    vocabulary = results.param("tokenizer.vocabulary")
    return parameter_count(model_config(vocabulary, *(results.param(f"model.{name}") for name in sizes)))


def _derived(results: EnglishResults) -> dict[str, Any]:
    """Settings that follow from others, or from the corpus."""
    param = results.param
    return {
        "corpus": results.fact("title"),
        "sha256": results.fact("sha256"),
        "parameters": parameters(results),
        "training_tokens": training_tokens(results),
        "stream_tokens": results.fact("training_tokens"),
        "epochs": results.fact("epochs"),
        "optimizer": OPTIMIZER_NAME,
        "basis_interval": param("training.steps") / param("basis.vectors"),
        "evaluation_tokens": param("data.evaluation_contexts") * (param("model.context") + 1 - BEFORE),
        "min_samples": min_samples(results),
        "finer_min_samples": f"n/{param('finer.min_samples_divisor')}",
        "shown": results.shown_analysis,
    }


def _published(results: EnglishResults) -> dict[str, Any]:
    """Published settings of all three tables, and those that follow from them or stand in the text (§5)."""
    training = results.published_part("table_05")
    context = training["training_tokens"] // (training["steps"] * training["batch_size"])
    polca = results.published_part("table_06")
    model = results.published_part("table_02")  # with these sizes the parameter count comes out, to the last one
    return {
        **{name: model[name] for name in ("layers", "width", "heads", "mlp_width")},
        **training,
        **polca,
        **results.published_part("table_07"),
        "vocabulary": training["vocabulary"] + 1,
        "context": context,
        "evaluation_contexts": polca["evaluation_tokens"] // (context + 1 - BEFORE),
    }


def _settings(results: EnglishResults, rows: Sequence[Row], published: dict[str, Any]) -> pd.DataFrame:
    return settings_table(results, rows, published, _derived(results))


def table_05(results: EnglishResults) -> pd.DataFrame:
    """Table 5: corpus, model and training."""
    return _settings(results, TRAINING, _published(results))


def table_06(results: EnglishResults) -> pd.DataFrame:
    """Table 6: basis and trajectories."""
    published = _published(results)
    return _settings(results, _polca(published), published)


def table_07(results: EnglishResults) -> pd.DataFrame:
    """Table 7: HDBSCAN, eqs. 9 and 10, and labels."""
    return _settings(results, CLUSTERING, _published(results))
