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
from polca.external.analyze import analyze as run
from polca.external.analyze import write_analysis
from polca.external.headers import check_files, check_hub
from polca.external.hub import HubCheckpoints, causal_loss, load_tokenizer, open_causal_lm
from polca.external.kept import Facts, basis_at_other_steps, kept, keys, share_basis
from polca.external.memory import estimated, free_memory
from polca.external.modules import ModuleCheckpoints, ModuleLoss
from polca.external.sentences import sentences
from polca.external.sequences import Sequences, from_batches, imported, next_token, packed_text
from polca.external.settings import AnalysisSettings, chosen_steps, planned, split
from polca.machine.code import code_hash
from polca.method.checkpoints import HALF, CheckpointDirectory, select_steps

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


def _open(name: str, factory: str | None, names: str | None, steps: str | None, interval: int | None) -> _Model:
    """The model, with every chosen checkpoint opened once.

    Raises:
        PolcaError: no such model, or a checkpoint that is damaged or of another model.
    """

    def chosen(available: Sequence[int]) -> list[int]:
        return chosen_steps(available, parsed_steps(steps, available, interval))

    if factory is not None:
        if names is not None:
            raise PolcaError(
                "--names and --factory are both given: files are all named step_*.safetensors: leave --names out"
            )
        module = imported(factory, "--factory")()
        if not isinstance(module, nn.Module):
            raise PolcaError(f"--factory {factory!r}: gives a {type(module).__name__}, not a torch.nn.Module")
        if any(t.dtype in HALF for t in (*module.parameters(), *module.buffers())):
            module = module.float()
        files, taken = ModuleCheckpoints(Path(name), module), chosen(CheckpointDirectory(Path(name)).steps())
        types = check_files(CheckpointDirectory(Path(name)).path, taken, files.load(taken[0]))
        model = _Model(name, ModuleLoss(module), files, taken)
    else:
        checkpoints = open_causal_lm(name, names)
        taken = chosen(checkpoints.steps())
        types = check_hub(checkpoints, taken)
        loss = causal_loss(checkpoints, taken[-1])
        _say("attention: plain (eager), because fused attention has no second derivative; tied weights count once")
        if old := sorted(checkpoints.leftovers):
            _say(f"buffers of an older version are passed over: {old[0]}{', …' if len(old) > 1 else ''}")
        config = loss.module.config
        limits = (getattr(config, key, None) for key in ("max_position_embeddings", "vocab_size"))
        model = _Model(name, loss, checkpoints, taken, *limits)
    if types:
        _say(f"weights are {' and '.join(sorted(types))}: computed in float32")
    return model


def _sequences(data: str, model: _Model, tokenizer: str | None, context: int | None, field: str | None) -> Sequences:
    """The batches or the text that `data` names, in contexts that the model can read.

    Raises:
        PolcaError: no such data, or not for this model.
    """
    if ":" in data and not Path(data).exists():
        if field is not None:
            raise PolcaError(f"--field {field!r}: is of text files, and {data} gives batches: leave it out")
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

        def encode(text: str) -> list[int]:
            return list(encoder(text, add_special_tokens=False)["input_ids"])

        windows = packed_text(Path(data), encode, length, field)
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
    opened = _open(model, factory, names, steps, interval)
    settings = planned(settings, opened.steps, workers)
    hessian, evaluation = split(_sequences(data, opened, tokenizer, context, field), settings)
    _say(f"{len(opened.steps)} checkpoints, {evaluation.targets.numel():,} tokens; evaluation mode, no dropout")
    params, batches = opened.checkpoints.load(opened.steps[0]), evaluation.batches(batch)
    if reason := missing_rule(opened.loss, params, batches[0]):
        _say(f"{reason}: each vector takes a torch.func.jvp of its own, which is several times slower")
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
    _say(needs.sentence(free_memory()))
    facts = _facts(opened, factory, settings, hessian, evaluation)
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
    for line in sentences(found):
        _say(line)
    _say(f"{time.monotonic() - started:.0f} s, {_memory_mib():,.0f} MiB at the peak; results in {out}")
    _say(
        f"open first: {out / 'projected_losses.png'} (curves), {out / 'clusters.csv'} (a row a cluster, with contexts)"
    )
    # With a slash it is a folder even where a preset has its name.
    _say(f"to see them in a browser: polca explore {shlex.quote(f'{out}/')}")


def _own_code(factory: str | None, module: nn.Module) -> Iterator[bytes]:
    """The code of a factory: its file, those of its package or folder that are loaded, and those of its layers."""
    if factory is None:
        return
    top = factory.partition(":")[0].partition(".")[0]
    file = getattr(sys.modules[top], "__file__", None)
    folder = None if file is None else Path(file).parent
    wanted = {type(layer).__module__ for layer in module.modules()}
    for name, loaded in sorted(sys.modules.items()):
        path = getattr(loaded, "__file__", None)
        if path is None or not Path(path).is_file() or name.partition(".")[0] in ("torch", "polca", "transformers"):
            continue
        own = name in wanted or name.partition(".")[0] == top
        # Modules beside it count too, unless it lies where packages are installed.
        if own or (folder is not None and "site-packages" not in folder.parts and Path(path).is_relative_to(folder)):
            yield name.encode() + b" " + Path(path).read_bytes()


def _bytes(*tensors: torch.Tensor) -> Iterator[bytes]:
    for tensor in tensors:
        yield repr((tensor.dtype, tuple(tensor.shape))).encode()
        # As bytes, since NumPy lacks some of PyTorch's types.
        yield tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _checkpoint_facts(model: _Model, step: int) -> bytes:
    """Names, sizes and times of change of a checkpoint's files; on the hub its name and revision."""
    if isinstance(model.checkpoints, HubCheckpoints):
        if not model.checkpoints.local:
            return repr(model.checkpoints.sources[step]).encode()
        files = model.checkpoints.files(step)
    else:
        files = [CheckpointDirectory(Path(model.name)).path(step)]
    return repr([(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]).encode()


def _facts(
    model: _Model, factory: str | None, settings: AnalysisSettings, hessian: Sequences, evaluation: Sequences
) -> Facts:
    """What the pieces of the analysis depend on. Options of the clustering are not among it."""
    module, s = model.loss.module, settings
    return Facts(
        loss=[
            repr((module, getattr(module, "config", None))).encode(),
            code_hash("polca.external.hub").encode(),
            *_own_code(factory, module),
            *_bytes(*module.buffers()),
        ],
        basis=[
            repr((s.per_step, s.tolerance, s.max_matvecs, s.seed, s.batch)).encode(),
            *_bytes(hessian.inputs, hessian.targets),
        ],
        projections=[repr((s.curvature, s.batch)).encode(), *_bytes(evaluation.inputs, evaluation.targets)],
        checkpoint={step: _checkpoint_facts(model, step) for step in model.steps},
    )
