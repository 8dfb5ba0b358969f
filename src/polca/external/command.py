"""`polca analyze`: hidden breakthroughs in anyone's checkpoints, from the command line."""

import re
import resource
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polca.errors import PolcaError

if TYPE_CHECKING:
    from polca.external.sequences import Sequences

DEFAULT_CONTEXT = 128


def _say(text: str) -> None:
    typer.echo(text, err=True)


def parsed_steps(text: str | None, available: Sequence[int], interval: int | None) -> list[int] | None:
    """`0,100,200` or `first:last:interval` as steps; with `interval`, all multiples of it from the first to the last.

    Raises:
        PolcaError: not of these forms, or both are given.
    """
    from polca.method.checkpoints import select_steps

    if text is None:
        return None if interval is None else select_steps(available, interval)
    if interval is not None:
        raise PolcaError("steps and interval are both given: leave one out")
    if match := re.fullmatch(r"(\d+):(\d+):(\d+)", text):
        first, last, by = (int(n) for n in match.groups())
        if by < 1 or last < first:
            raise PolcaError(f"steps {text!r}: expected first:last:interval with first ≤ last and interval ≥ 1")
        return list(range(first, last + 1, by))
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise PolcaError(f"steps {text!r}: expected 0,100,200 or first:last:interval")
    return [int(n) for n in text.split(",")]


def _text(path: Path, tokenizer: Any, context: int) -> "Sequences":
    from polca.external.sequences import next_token, packed_text

    windows = packed_text(path, lambda text: tokenizer(text, add_special_tokens=False)["input_ids"], context)
    return next_token(windows, lambda ids: str(tokenizer.decode(ids)))


def _memory_mib() -> float:
    """Peak resident memory of this process, or of its largest worker."""
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return float(peak) / (2**20 if sys.platform == "darwin" else 2**10)


def analyze(
    model: Annotated[
        str,
        typer.Argument(
            help="Folder with one sub-folder a checkpoint (step…), as save_pretrained writes them; name of a Hugging "
            "Face model with step… revisions; or, with --factory, folder of step_*.safetensors files."
        ),
    ],
    data: Annotated[str, typer.Option(help="UTF-8 text file, or module:function that gives batches.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    factory: Annotated[str | None, typer.Option(help="module:function that gives the torch.nn.Module.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Folder of the tokenizer, if not the model's.")] = None,
    context: Annotated[int | None, typer.Option(help="Tokens of a context (128, or what the model has).")] = None,
    steps: Annotated[str | None, typer.Option(help="Checkpoints: 0,100,200 or first:last:interval (all).")] = None,
    interval: Annotated[int | None, typer.Option(help="Every checkpoint this many steps apart (all).")] = None,
    vectors: Annotated[int | None, typer.Option(help="Basis vectors (10, or one a checkpoint).")] = None,
    per_step: Annotated[int, typer.Option(help="Basis vectors from each basis step.")] = 1,
    basis_steps: Annotated[str | None, typer.Option(help="Where they are computed (spread evenly).")] = None,
    hessian_sequences: Annotated[int, typer.Option(help="Sequences of the Hessian sample, the data's first.")] = 16,
    tokens: Annotated[int, typer.Option(help="Evaluation tokens, from the sequences after those.")] = 2000,
    batch: Annotated[int, typer.Option(help="Sequences at once: the unit of memory.")] = 4,
    strategy: Annotated[str, typer.Option(help="polca, polca_first_order, fisher, loss, loss_change.")] = "polca",
    second_order: Annotated[str, typer.Option(help="trapezoid, paper, exact, none.")] = "trapezoid",
    eigenvalue: Annotated[str, typer.Option(help="λ of the form `paper`: basis, current.")] = "basis",
    min_cluster_size: Annotated[int | None, typer.Option(help="HDBSCAN's (3 % of the tokens, as published).")] = None,
    min_samples_divisor: Annotated[int, typer.Option(help="min_samples = n / this (raise it for finer ones).")] = 15,
    delta: Annotated[int | None, typer.Option(help="Δ of eq. 9 in steps (one interval).")] = None,
    flat_step: Annotated[int | None, typer.Option(help="Step at which the mean loss is flat (eq. 10).")] = None,
    tolerance: Annotated[float, typer.Option(help="Relative residual of an eigenvector.")] = 1e-3,
    max_matvecs: Annotated[int, typer.Option(help="Hessian-vector products of a basis step at most.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the eigenvectors' start.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes; results do not depend on it.")] = 1,
) -> None:
    """Find hidden breakthroughs in your own checkpoints."""
    # Modules named on the command line may lie where one stands, as with `python -m`.
    if factory or ":" in data:
        sys.path.insert(0, str(Path.cwd()))
    from polca.external.analyze import AnalysisSettings, chosen_steps, split, write_analysis
    from polca.external.analyze import analyze as run
    from polca.external.sequences import from_batches, imported
    from polca.machine.resume import resumable
    from polca.method.forward_rules import missing_rule

    started = time.monotonic()
    if out.exists() and not out.is_dir():
        raise PolcaError(f"{out}: is a file: name a folder with --out")
    chosen_basis = parsed_steps(basis_steps, [], None)
    settings = AnalysisSettings(
        vectors=vectors,
        per_step=per_step,
        basis_steps=None if chosen_basis is None else tuple(chosen_basis),
        hessian_sequences=hessian_sequences,
        tokens=tokens,
        batch=batch,
        strategy=strategy,  # type: ignore[arg-type]  # checked there
        second_order=second_order,  # type: ignore[arg-type]
        eigenvalue=eigenvalue,  # type: ignore[arg-type]
        min_cluster_size=min_cluster_size,
        min_samples_divisor=min_samples_divisor,
        delta=delta,
        flat_step=flat_step,
        tolerance=tolerance,
        max_matvecs=max_matvecs,
        seed=seed,
    )
    loss, checkpoints, limit, vocabulary = _model(model, factory, steps, interval)
    chosen = chosen_steps(checkpoints.steps(), parsed_steps(steps, checkpoints.steps(), interval))
    if ":" in data and not Path(data).exists():
        sequences = from_batches(imported(data, "--data")(), data)
    else:
        from polca.external.hub import HubCheckpoints, load_tokenizer

        if isinstance(checkpoints, HubCheckpoints):
            encoder = checkpoints.tokenizer(tokenizer)
        elif tokenizer is None:
            raise PolcaError(f"{data}: text needs a tokenizer: name its folder with --tokenizer")
        else:
            encoder = load_tokenizer(tokenizer)
        length = min(DEFAULT_CONTEXT, limit or DEFAULT_CONTEXT) if context is None else context
        if limit is not None and length > limit:
            raise PolcaError(f"context = {length}: the model reads at most {limit} tokens: lower it")
        sequences = _text(Path(data), encoder, length)
    if vocabulary is not None and not 0 <= int(sequences.targets.min()) <= int(sequences.targets.max()) < vocabulary:
        raise PolcaError(f"{data}: token ids outside the model's vocabulary of {vocabulary}: use the model's tokenizer")
    hessian, evaluation = split(sequences, settings)
    _say(f"{len(chosen)} checkpoints, {evaluation.targets.numel():,} tokens; evaluation mode, no dropout")
    if reason := missing_rule(loss, checkpoints.load(chosen[0]), evaluation.batches(batch)[0]):
        _say(f"{reason}: each vector takes a torch.func.jvp of its own, which is several times slower")
    facts = _facts(model, loss, checkpoints, chosen, settings, hessian, evaluation)
    with resumable(out, "analyze", facts, entry=__name__) as work:
        found = run(
            loss,
            checkpoints,
            hessian.batches(batch),
            evaluation.batches(batch),
            settings,
            steps=chosen,
            workers=workers,
            resume=work,
        )
        paths = write_analysis(found, evaluation, out)
    if found.breaks is None:
        _say("no breakthrough steps: the checkpoints are not evenly spaced (choose some that are with --steps)")
    if not len(found.clusters):
        _say("HDBSCAN found no cluster: raise --min-samples-divisor or lower --min-cluster-size for finer ones")
    c = found.complete
    _say(
        f"{len(found.clusters)} clusters, {int(found.clusters.vector_kept.sum())} of {len(found.basis)} vectors kept; "
        f"mean loss change {c.total_actual:.4g} nats, of which the basis holds {c.total_allocated:.4g} "
        f"({c.fraction:.1%})"
    )
    _say(f"{time.monotonic() - started:.0f} s, {_memory_mib():,.0f} MiB at the peak; results in {paths[-1].parent}")
    # With a slash it is a folder even where a preset has its name.
    _say(f"to look around in them: polca explore {shlex.quote(f'{out}/')}")


def _facts(
    model: str,
    loss: Any,
    checkpoints: Any,
    chosen: Sequence[int],
    settings: Any,
    hessian: "Sequences",
    evaluation: "Sequences",
) -> Iterator[bytes]:
    """Everything on which the results depend, for `resumable`; of checkpoint files, whether they were changed."""
    import torch

    from polca.machine.resume import files_as_they_are

    yield repr((model, torch.__version__, settings, list(chosen), getattr(checkpoints, "sources", None))).encode()
    yield repr((loss.module, getattr(loss.module, "config", None))).encode()
    for part in (hessian.inputs, hessian.targets, evaluation.inputs, evaluation.targets, *loss.module.buffers()):
        # As bytes, since NumPy lacks some of PyTorch's types.
        yield part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    if Path(model).is_dir():
        yield from files_as_they_are(Path(model))


def _model(name: str, factory: str | None, steps: str | None, interval: int | None) -> tuple[Any, Any, Any, Any]:
    """Loss, checkpoints, longest context and vocabulary (None where unknown)."""
    from polca.external.analyze import chosen_steps

    if factory is not None:
        from torch import nn

        from polca.external.modules import ModuleCheckpoints, ModuleLoss
        from polca.external.sequences import imported

        module = imported(factory, "--factory")()
        if not isinstance(module, nn.Module):
            raise PolcaError(f"--factory {factory!r}: gives a {type(module).__name__}, not a torch.nn.Module")
        return ModuleLoss(module), ModuleCheckpoints(Path(name), module), None, None
    from polca.external.hub import causal_loss, open_causal_lm

    checkpoints = open_causal_lm(name)
    available = checkpoints.steps()
    chosen = chosen_steps(available, parsed_steps(steps, available, interval))
    loss = causal_loss(checkpoints, chosen[-1])
    config = loss.module.config
    _say("attention: plain (eager), since fused attention has no second derivative; tied weights count once")
    limit, vocabulary = (getattr(config, key, None) for key in ("max_position_embeddings", "vocab_size"))
    return loss, checkpoints, limit, vocabulary
