"""English clusters and directions against constructions that a treebank knows; skipped where there is no treebank."""

import hashlib
from dataclasses import replace

from polca.errors import PolcaError
from polca.machine.files import PresetPaths, stacked, write_csv, write_json, writing
from polca.method.bases import Basis
from polca.method.checkpoints import CheckpointDirectory, select_steps
from polca.method.clustering import cluster
from polca.method.decomposition import decompose
from polca.method.projections import Projections, project_bases
from polca.study.english_analyses import ANALYSES
from polca.study.english_settings import EnglishSettings, read_english
from polca.study.settings import ClusteringSettings
from polca.study.stage import resumable, run
from polca.tasks.english.text import (
    BEFORE,
    BETWEEN_DOCUMENTS,
    EvaluationText,
    evaluated,
    evaluation_batch,
    evaluation_text,
    load_tokenizer,
)
from polca.tasks.transformer import TokenLoss, initialize
from polca.validity.construction_scores import COLUMNS, construction_scores, no_scores
from polca.validity.seeds_settings import TreebankSettings, read_treebank_settings
from polca.validity.treebank import CONSTRUCTIONS, Annotated, annotate, read_conllu, token_labels

SKIPPED = "skipped: no treebank"


def windows_of(
    annotated: Annotated, settings: EnglishSettings, treebank: TreebankSettings, paths: PresetPaths
) -> EvaluationText:
    """Evaluation windows of the treebank's text, cut by the preset's own tokenizer."""
    tokenizer = load_tokenizer(paths.english.tokenizer)
    try:
        return evaluation_text(tokenizer, annotated.documents, treebank.windows, settings.sizes.context, settings.seed)
    except PolcaError as error:
        raise PolcaError(
            f"validity.treebank.windows = {treebank.windows}: more than {treebank.file} holds: lower it"
        ) from error


def project_windows(text: EvaluationText, settings: EnglishSettings, paths: PresetPaths) -> Projections:
    """Projections of the windows' tokens on the preset's Hessian basis, as `english_project` makes them."""
    out, size = paths.english, settings.polca.batch_sequences
    shapes = {name: p.shape for name, p in initialize(settings.model(), settings.seed).items()}
    checkpoints = CheckpointDirectory(out.checkpoints, shapes)
    with resumable(paths, "validity_treebank", "english", "validity") as work:
        return project_bases(
            TokenLoss(settings.model(evaluated=True)),
            checkpoints,
            {"hessian": Basis.load(out.basis)},
            [evaluation_batch(text.tokens[i : i + size]) for i in range(0, len(text.tokens), size)],
            steps=select_steps(checkpoints.steps(), settings.polca.interval, "english.polca.interval"),
            method="forward",
            workers=settings.workers,
            resume=work / "checkpoints",
        )["hessian"]


def scaled(clustering: ClusteringSettings, share: float) -> ClusteringSettings:
    """The least cluster size as the same share of the tokens as in the preset."""
    return replace(clustering, min_cluster_size=max(2, round(clustering.min_cluster_size * share)))


def main(paths: PresetPaths) -> None:
    settings, treebank = read_english(paths.params), read_treebank_settings(paths.params)
    target = paths.root / "runs" / paths.name / "validity" / "treebank"
    source = paths.root / treebank.input / treebank.file
    if not source.is_file():
        print(f"{treebank.input}/{treebank.file}: {SKIPPED} (make validity TREEBANK=<directory>)", flush=True)
        with writing(target) as folder:
            write_csv(folder / "treebank.csv", no_scores())
            write_json(folder / "treebank.json", {"status": SKIPPED, "file": treebank.file})
        return
    sentences = read_conllu(source)
    annotated = annotate(sentences, BETWEEN_DOCUMENTS)
    text = windows_of(annotated, settings, treebank, paths)
    labels = token_labels(text.text, text.starts, text.ends, annotated)[:, BEFORE:].reshape(-1, len(CONSTRUCTIONS))
    targets = evaluated(text.tokens)
    projections = project_windows(text, settings, paths)
    share = treebank.windows / settings.data.evaluation_contexts
    chosen = {"polca_fine": scaled(settings.finer, share)}
    tables, sizes = [], {}
    for name, strategy in ANALYSES.items():
        clustering = chosen.get(name, scaled(settings.clustering, share))
        trajectories = decompose(projections, strategy, settings.polca.second_order, settings.polca.eigenvalue)
        clusters = cluster(
            trajectories,
            min_cluster_size=clustering.min_cluster_size,
            min_samples_divisor=clustering.min_samples_divisor,
        )
        sizes[name] = {
            "min_cluster_size": clustering.min_cluster_size,
            "clusters": len(clusters),
            "vectors": len(clusters.vector_kept),
            "kept": int(clusters.vector_kept.sum()),
        }
        tables.append(
            construction_scores(
                name,
                clusters,
                trajectories,
                labels,
                targets,
                tuple(CONSTRUCTIONS),
                permutations=treebank.permutations,
                seed=settings.seed,
            )
        )
    losses = projections.losses.mean(axis=1, dtype="float64")
    with writing(target) as folder:
        write_csv(folder / "treebank.csv", stacked(*tables)[list(COLUMNS)])
        write_json(
            folder / "treebank.json",
            {
                "status": "done",
                "file": treebank.file,
                "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
                "documents": len(annotated.documents),
                "sentences": len(sentences),
                "words": len(annotated.starts),
                "windows": treebank.windows,
                "tokens": len(targets),
                "permutations": treebank.permutations,
                "loss_first": float(losses[0]),
                "loss_last": float(losses[-1]),
                "constructions": dict(CONSTRUCTIONS),
                "analyses": sizes,
            },
        )


if __name__ == "__main__":
    run(main)
