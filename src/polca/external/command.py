"""`polca analyze`: hidden breakthroughs in anyone's checkpoints, from the command line."""

import re
import resource
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import nn

from polca.errors import PolcaError
from polca.external.analyze import Analysis, AnalysisSettings, chosen_steps, split, write_analysis
from polca.external.analyze import analyze as run
from polca.external.hub import HubCheckpoints, causal_loss, load_tokenizer, open_causal_lm
from polca.external.modules import ModuleCheckpoints, ModuleLoss
from polca.external.sequences import Sequences, from_batches, imported, next_token, packed_text
from polca.machine.resume import files_as_they_are, resumable
from polca.method.checkpoints import select_steps

DEFAULT = AnalysisSettings()
DEFAULT_CONTEXT = 128


def _say(text: str) -> None:
    typer.echo(text, err=True)


def parsed_steps(text: str | None, available: Sequence[int], interval: int | None) -> list[int] | None:
    """`0,100,200` or `first:last:interval` as steps; with `interval`, all multiples of it from the first to the last.

    Raises:
        PolcaError: not of these forms, or both are given.
    """
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


@dataclass(frozen=True)
class _Model:
    """A model and its checkpoints.

    Attributes:
        name: as given on the command line.
        steps: the checkpoints chosen.
        context, vocabulary: tokens that it reads at most, and that it knows; None where that is unknown.
    """

    name: str
    loss: ModuleLoss
    checkpoints: ModuleCheckpoints | HubCheckpoints
    steps: Sequence[int]
    context: int | None = None
    vocabulary: int | None = None


def _open(name: str, factory: str | None, steps: str | None, interval: int | None) -> _Model:
    def chosen(available: Sequence[int]) -> list[int]:
        return chosen_steps(available, parsed_steps(steps, available, interval))

    if factory is not None:
        module = imported(factory, "--factory")()
        if not isinstance(module, nn.Module):
            raise PolcaError(f"--factory {factory!r}: gives a {type(module).__name__}, not a torch.nn.Module")
        files = ModuleCheckpoints(Path(name), module)
        return _Model(name, ModuleLoss(module), files, chosen(files.steps()))
    checkpoints = open_causal_lm(name)
    taken = chosen(checkpoints.steps())
    loss = causal_loss(checkpoints, taken[-1])
    _say("attention: plain (eager), because fused attention has no second derivative; tied weights count once")
    config = loss.module.config
    limits = (getattr(config, key, None) for key in ("max_position_embeddings", "vocab_size"))
    return _Model(name, loss, checkpoints, taken, *limits)


def _sequences(data: str, model: _Model, tokenizer: str | None, context: int | None) -> Sequences:
    """The batches or the text that `data` names, in contexts that the model can read.

    Raises:
        PolcaError: no such data, or not for this model.
    """
    if ":" in data and not Path(data).exists():
        sequences = from_batches(imported(data, "--data")(), data)
    else:
        if isinstance(model.checkpoints, HubCheckpoints):
            encoder = model.checkpoints.tokenizer(tokenizer)
        elif tokenizer is None:
            raise PolcaError(f"{data}: text needs a tokenizer: name its folder with --tokenizer")
        else:
            encoder = load_tokenizer(tokenizer)
        length = min(DEFAULT_CONTEXT, model.context or DEFAULT_CONTEXT) if context is None else context
        if model.context is not None and length > model.context:
            raise PolcaError(f"context = {length}: the model reads at most {model.context} tokens: lower it")
        windows = packed_text(Path(data), lambda text: encoder(text, add_special_tokens=False)["input_ids"], length)
        sequences = next_token(windows, lambda ids: str(encoder.decode(ids)))
    low, high = int(sequences.targets.min()), int(sequences.targets.max())
    if model.vocabulary is not None and not 0 <= low <= high < model.vocabulary:
        raise PolcaError(
            f"{data}: token ids outside the model's vocabulary of {model.vocabulary}: use the model's tokenizer"
        )
    return sequences


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
    data: Annotated[str, typer.Option(help="UTF-8 text file, or module:function that gives batches.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    factory: Annotated[str | None, typer.Option(help="module:function that gives the torch.nn.Module.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Folder of the tokenizer, if not the model's.")] = None,
    context: Annotated[int | None, typer.Option(help="Tokens of a context (128, or what the model has).")] = None,
    steps: Annotated[str | None, typer.Option(help="Checkpoints: 0,100,200 or first:last:interval (all).")] = None,
    interval: Annotated[int | None, typer.Option(help="Every checkpoint this many steps apart (all).")] = None,
    vectors: Annotated[int | None, typer.Option(help="Basis vectors (10, or one a checkpoint).")] = None,
    per_step: Annotated[int, typer.Option(help="Basis vectors from each basis step.")] = DEFAULT.per_step,
    basis_steps: Annotated[
        str | None, typer.Option(help="Steps at which basis vectors are computed (spread evenly).")
    ] = None,
    hessian_sequences: Annotated[
        int, typer.Option(help="Sequences of the Hessian sample: the first of the data.")
    ] = DEFAULT.hessian_sequences,
    tokens: Annotated[
        int, typer.Option(help="Evaluation tokens, from the sequences after the Hessian sample.")
    ] = DEFAULT.tokens,
    batch: Annotated[int, typer.Option(help="Sequences at once: the unit of memory.")] = DEFAULT.batch,
    strategy: Annotated[
        str, typer.Option(help="polca, polca_first_order, fisher, loss, loss_change.")
    ] = DEFAULT.strategy,
    second_order: Annotated[str, typer.Option(help="trapezoid, paper, exact, none.")] = DEFAULT.second_order,
    eigenvalue: Annotated[str, typer.Option(help="λ of the form `paper`: basis, current.")] = DEFAULT.eigenvalue,
    min_cluster_size: Annotated[
        int | None, typer.Option(help="Least size of a cluster (3 % of the tokens, as published).")
    ] = None,
    min_samples_divisor: Annotated[
        int, typer.Option(help="min_samples = n / this. Raise it for finer clusters.")
    ] = DEFAULT.min_samples_divisor,
    standardise: Annotated[
        bool,
        typer.Option(
            "--standardise/--raw",
            help="Cluster trajectories by shape (each minus its own mean over time, divided by its own standard "
            "deviation over time), or by their raw values.",
        ),
    ] = DEFAULT.standardise,
    delta: Annotated[int | None, typer.Option(help="Δ of eq. 9 in steps (one interval).")] = None,
    flat_step: Annotated[int | None, typer.Option(help="Step at which the mean loss is flat (eq. 10).")] = None,
    tolerance: Annotated[float, typer.Option(help="Relative residual of an eigenvector.")] = DEFAULT.tolerance,
    max_matvecs: Annotated[
        int, typer.Option(help="Most Hessian-vector products of a basis step.")
    ] = DEFAULT.max_matvecs,
    seed: Annotated[int, typer.Option(help="Seed of the start vectors of Lanczos.")] = DEFAULT.seed,
    workers: Annotated[int, typer.Option(help="Processes; results do not depend on it.")] = 1,
) -> None:
    """Find hidden breakthroughs in your own checkpoints."""
    # Modules named on the command line may lie where one stands, as with `python -m`.
    if factory or ":" in data:
        sys.path.insert(0, str(Path.cwd()))
    from polca.method.forward_rules import missing_rule  # as late as `method.forward` would load them

    started = time.monotonic()
    if out.exists() and not out.is_dir():
        raise PolcaError(f"{out}: is a file: name a folder with --out")
    chosen_basis = parsed_steps(basis_steps, [], None)
    own = {field.name: call.params[field.name] for field in fields(AnalysisSettings)}
    settings = AnalysisSettings(**{**own, "basis_steps": None if chosen_basis is None else tuple(chosen_basis)})
    opened = _open(model, factory, steps, interval)
    hessian, evaluation = split(_sequences(data, opened, tokenizer, context), settings)
    _say(f"{len(opened.steps)} checkpoints, {evaluation.targets.numel():,} tokens; evaluation mode, no dropout")
    params, batches = opened.checkpoints.load(opened.steps[0]), evaluation.batches(batch)
    if reason := missing_rule(opened.loss, params, batches[0]):
        _say(f"{reason}: each vector takes a torch.func.jvp of its own, which is several times slower")
    with resumable(out, "analyze", _facts(opened, settings, hessian, evaluation), entry=__name__) as work:
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
    _report(found)
    _say(f"{time.monotonic() - started:.0f} s, {_memory_mib():,.0f} MiB at the peak; results in {out}")
    # With a slash it is a folder even where a preset has its name.
    _say(f"to see them in a browser: polca explore {shlex.quote(f'{out}/')}")


def _report(found: Analysis) -> None:
    if found.breaks is None:
        _say("no breakthrough steps: the checkpoints are not evenly spaced (choose evenly spaced ones with --steps)")
    if not len(found.clusters):
        raw = "; or cluster trajectories as they are with --raw" if found.settings.standardise else ""
        _say(f"HDBSCAN found no cluster: raise --min-samples-divisor or lower --min-cluster-size for finer ones{raw}")
    c = found.complete
    _say(
        f"{len(found.clusters)} clusters, {int(found.clusters.vector_kept.sum())} of {len(found.basis)} vectors kept; "
        f"mean loss change {c.total_actual:.4g} nats, of which the basis holds {c.total_allocated:.4g} "
        f"({c.fraction:.1%})"
    )


def _facts(model: _Model, settings: AnalysisSettings, hessian: Sequences, evaluation: Sequences) -> Iterator[bytes]:
    """Everything on which the results depend, for `resumable`; of checkpoint files, whether they were changed."""
    module = model.loss.module
    yield repr((model.name, settings, list(model.steps), getattr(model.checkpoints, "sources", None))).encode()
    yield repr((module, getattr(module, "config", None))).encode()
    for part in (hessian.inputs, hessian.targets, evaluation.inputs, evaluation.targets, *module.buffers()):
        # As bytes, since NumPy lacks some of PyTorch's types.
        yield part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    if Path(model.name).is_dir():
        yield from files_as_they_are(Path(model.name))
