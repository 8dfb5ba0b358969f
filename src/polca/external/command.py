"""`polca analyze` and `polca cluster` on the command line. PyTorch is loaded only when one of them runs."""

import resource
import shlex
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polca.errors import PolcaError
from polca.external.settings import AnalysisSettings

if TYPE_CHECKING:
    from polca.external.analysis import Analysis


def _memory_mib() -> float:
    """Peak resident memory of this process, or of its largest worker."""
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return float(peak) / (2**20 if sys.platform == "darwin" else 2**10)


def analyze(
    call: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            help="Folder with one sub-folder a checkpoint (step…), as save_pretrained writes them; name of a Hugging "
            "Face model with step… revisions; or, with --factory, folder of step_*.safetensors files."
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            help="Text in UTF-8 (.txt, .jsonl, .parquet; .gz of the first two), or module:function that gives batches."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    factory: Annotated[str | None, typer.Option(help="module:function that gives the torch.nn.Module.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Folder of the tokenizer, if not the model's.")] = None,
    field: Annotated[str | None, typer.Option(help="Field of .jsonl and .parquet with the text (text).")] = None,
    context: Annotated[int | None, typer.Option(help="Tokens of a context (128, or what the model has).")] = None,
    names: Annotated[
        str | None, typer.Option(help="Which sub-folders or revisions, as a pattern such as 'stage1-*' (all).")
    ] = None,
    steps: Annotated[str | None, typer.Option(help="Checkpoints: 0,100,200 or first:last:interval (all).")] = None,
    interval: Annotated[int | None, typer.Option(help="Every checkpoint this many steps apart (all).")] = None,
    vectors: Annotated[int | None, typer.Option(help="Basis vectors (10, or one a checkpoint).")] = None,
    per_step: Annotated[int, typer.Option(help="Basis vectors from each basis step.")] = AnalysisSettings.per_step,
    basis_steps: Annotated[
        str | None, typer.Option(help="Steps at which basis vectors are computed (spread evenly).")
    ] = None,
    parameter_names: Annotated[
        str | None, typer.Option(help="Parameters in which directions lie, as patterns such as '*.mlp.*,head.*' (all).")
    ] = None,
    hessian_sequences: Annotated[
        int, typer.Option(help="Sequences of the Hessian sample: the first of the data.")
    ] = AnalysisSettings.hessian_sequences,
    tokens: Annotated[
        int, typer.Option(help="Evaluation tokens, from the sequences after the Hessian sample.")
    ] = AnalysisSettings.tokens,
    batch: Annotated[int, typer.Option(help="Sequences at once: the unit of memory.")] = AnalysisSettings.batch,
    strategy: Annotated[
        str, typer.Option(help="polca, polca_first_order, fisher, loss, loss_change.")
    ] = AnalysisSettings.strategy,
    second_order: Annotated[str, typer.Option(help="trapezoid, paper, exact, none.")] = AnalysisSettings.second_order,
    eigenvalue: Annotated[
        str, typer.Option(help="λ of the form `paper`: basis, current.")
    ] = AnalysisSettings.eigenvalue,
    min_cluster_size: Annotated[
        int | None, typer.Option(help="Least size of a cluster (3 % of the tokens, as published).")
    ] = None,
    min_samples_divisor: Annotated[
        int, typer.Option(help="min_samples = n / this. Raise it for finer clusters.")
    ] = AnalysisSettings.min_samples_divisor,
    standardise: Annotated[
        bool,
        typer.Option(
            "--standardise/--raw",
            help="Cluster trajectories by shape (each minus its own mean over time, divided by its own standard "
            "deviation over time), or by their raw values.",
        ),
    ] = AnalysisSettings.standardise,
    delta: Annotated[int | None, typer.Option(help="Δ of eq. 9 in steps (one interval).")] = None,
    flat_step: Annotated[int | None, typer.Option(help="Step at which the mean loss is flat (eq. 10).")] = None,
    tolerance: Annotated[float, typer.Option(help="Relative residual of an eigenvector.")] = AnalysisSettings.tolerance,
    max_matvecs: Annotated[
        int, typer.Option(help="Most Hessian-vector products of a basis step.")
    ] = AnalysisSettings.max_matvecs,
    seed: Annotated[int, typer.Option(help="Seed of the start vectors of Lanczos.")] = AnalysisSettings.seed,
    workers: Annotated[int, typer.Option(help="Processes; results do not depend on it.")] = 1,
) -> None:
    """Find hidden breakthroughs in your own checkpoints."""
    if out.exists() and not out.is_dir():
        raise PolcaError(f"{out}: is a file: name a folder with --out")
    from polca.machine.pinned import start_pinned

    start_pinned()
    from polca.external.analyze import analyze as run
    from polca.external.analyze import write_analysis
    from polca.external.kept import basis_at_other_steps, kept, keys, share_basis
    from polca.external.memory import estimated, free_memory
    from polca.external.opening import facts_of, named_sequences, opened_model, parsed_steps, say
    from polca.external.settings import planned, split
    from polca.method.forward_rules import missing_rule

    # Modules named on the command line may lie where one stands, as with `python -m`.
    if factory or ":" in data:
        sys.path.insert(0, str(Path.cwd()))
    started = time.monotonic()
    chosen_basis = parsed_steps(basis_steps, [], None)
    own = {field.name: call.params[field.name] for field in fields(AnalysisSettings)}
    settings = AnalysisSettings(**{**own, "basis_steps": None if chosen_basis is None else tuple(chosen_basis)})
    opened = opened_model(model, factory, names, steps, interval)
    settings = planned(settings, opened.steps, workers)
    hessian, evaluation = split(named_sequences(data, opened, tokenizer, context, field), settings)
    say(f"{len(opened.steps)} checkpoints, {evaluation.targets.numel():,} tokens; evaluation mode, no dropout")
    params, batches = opened.checkpoints.load(opened.steps[0]), evaluation.batches(batch)
    if reason := missing_rule(opened.loss, params, batches[0]):
        say(f"{reason}: each vector takes a torch.func.jvp of its own, which is several times slower")
    assert settings.basis_steps is not None
    assert settings.vectors is not None
    needs = estimated(
        opened.loss,
        params,
        max(batches[0], hessian.batches(batch)[0], key=lambda part: len(part[1])),
        vectors=settings.vectors,
        max_matvecs=max_matvecs,
        curvature=settings.curvature,
        workers=workers,
    )
    say(needs.sentence(free_memory()))
    _announce(out)
    facts = facts_of(opened, factory, settings, hessian, evaluation)
    if basis_steps is None and (old := basis_at_other_steps(out, facts, settings.basis_steps)):
        named, moved = (",".join(map(str, at)) for at in (old, settings.basis_steps))
        raise PolcaError(
            f"{out}: holds a basis of steps {named}; with these checkpoints it would be {moved}: keep it with "
            f"--basis-steps {named}, or take --basis-steps {moved}"
        )
    with kept(out, keys(facts, settings.basis_steps)) as work:
        found = run(
            opened.loss,
            opened.checkpoints,
            hessian.batches(batch),
            batches,
            settings,
            steps=opened.steps,
            workers=workers,
            resume=work,
        )
        write_analysis(found, evaluation, out)
        share_basis(out)
    _tell(found, out, started)


def _tell(found: "Analysis", out: Path, started: float) -> None:
    """What was found, what to open first, and how to go on."""
    from polca.external.opening import say
    from polca.external.sentences import finer, sentences

    for line in sentences(found):
        say(line)
    say(f"{time.monotonic() - started:.0f} s, {_memory_mib():,.0f} MiB at the peak; results in {out}")
    folder = shlex.quote(f"{out}/")  # with a slash it is a folder even where a preset has its name
    if not len(found.clusters):
        size, divisor = finer(found.settings)
        options = f"--min-cluster-size {size} --min-samples-divisor {divisor} --out {shlex.quote(f'{out}_finer')}"
        say(f"a finer clustering, not the paper's: polca cluster {folder} {options}")
    curves, table = out / "projected_losses.png", out / "clusters.csv"
    say(f"open first: {curves} (curves; more in {out / 'vectors'}), {table} (a row a cluster, with contexts)")
    say(f"to see them in a browser: polca explore {folder}")


def cluster(
    results: Annotated[Path, typer.Argument(help="A folder that polca analyze wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the new results.")],
    standardise: Annotated[
        bool | None,
        typer.Option("--standardise/--raw", help="Cluster trajectories by shape, or by their raw values (as before)."),
    ] = None,
    min_cluster_size: Annotated[int | None, typer.Option(help="Least size of a cluster (as before).")] = None,
    min_samples_divisor: Annotated[int | None, typer.Option(help="min_samples = n / this (as before).")] = None,
    delta: Annotated[int | None, typer.Option(help="Δ of eq. 9 in steps (as before).")] = None,
    flat_step: Annotated[
        int | None, typer.Option("--tau", "--flat-step", help="τ of eq. 10: step at which the mean loss is flat.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes; results do not depend on it.")] = 1,
) -> None:
    """Cluster the kept projections of `polca analyze` again with other options, in seconds."""
    if out.exists() and not out.is_dir():
        raise PolcaError(f"{out}: is a file: name a folder with --out")
    if not (results / "summary.json").is_file():
        raise PolcaError(f"{results}: no summary.json: name a folder that polca analyze wrote (its --out)")
    from polca.machine.pinned import start_pinned

    start_pinned()
    from polca.external.analyze import write_analysis
    from polca.external.kept import WHOLE_BASIS
    from polca.external.results import clustered_again

    started = time.monotonic()
    given = {
        "standardise": standardise,
        "min_cluster_size": min_cluster_size,
        "min_samples_divisor": min_samples_divisor,
        "delta": delta,
        "flat_step": flat_step,
    }
    found, texts = clustered_again(results, workers, **{name: v for name, v in given.items() if v is not None})
    _announce(out)
    write_analysis(found, texts, out, results / WHOLE_BASIS)
    _tell(found, out, started)


def _announce(out: Path) -> None:
    """Say that results of an earlier analysis give way."""
    if (out / "summary.json").is_file():
        typer.echo(f"{out}: the results that are there are replaced", err=True)
