"""Checkpoints, models and data as the command line names them, and what results of them depend on."""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import typer
from torch import nn

from polca.errors import PolcaError
from polca.external.headers import check_files, check_hub
from polca.external.hub import HubCheckpoints, causal_loss, load_tokenizer, open_causal_lm
from polca.external.kept import Facts
from polca.external.modules import ModuleCheckpoints, ModuleLoss
from polca.external.sequences import Sequences, from_batches, imported, next_token, packed_text
from polca.external.settings import AnalysisSettings, chosen_steps
from polca.machine.code import code_hash
from polca.method.checkpoints import HALF, CheckpointDirectory, select_steps

DEFAULT_CONTEXT = 128
IGNORED = -100
"""Target without a loss, as `ModuleLoss` has it."""


def say(text: str) -> None:
    """A line for the user, on standard error."""
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
class OpenedModel:
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


def opened_model(
    name: str, factory: str | None, names: str | None, steps: str | None, interval: int | None
) -> OpenedModel:
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
        model = OpenedModel(name, ModuleLoss(module), files, taken)
    else:
        checkpoints = open_causal_lm(name, names)
        taken = chosen(checkpoints.steps())
        types = check_hub(checkpoints, taken)
        loss = causal_loss(checkpoints, taken[-1])
        say("attention: plain (eager), because fused attention has no second derivative; tied weights count once")
        if old := sorted(checkpoints.leftovers):
            say(f"buffers of an older version are passed over: {old[0]}{', …' if len(old) > 1 else ''}")
        config = loss.module.config
        limits = (getattr(config, key, None) for key in ("max_position_embeddings", "vocab_size"))
        model = OpenedModel(name, loss, checkpoints, taken, *limits)
    if types:
        say(f"weights are {' and '.join(sorted(types))}: computed in float32")
    return model


def named_sequences(
    data: str, model: OpenedModel, tokenizer: str | None, context: int | None, field: str | None
) -> Sequences:
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
    ids = sequences.targets[sequences.targets != IGNORED]
    low, high = (int(ids.min()), int(ids.max())) if len(ids) else (0, 0)
    if model.vocabulary is not None and not 0 <= low <= high < model.vocabulary:
        raise PolcaError(
            f"{data}: token ids outside the model's vocabulary of {model.vocabulary}: use the model's tokenizer"
        )
    return sequences


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


def _checkpoint_facts(model: OpenedModel, step: int) -> bytes:
    """Names, sizes and times of change of a checkpoint's files; on the hub its name and revision."""
    if isinstance(model.checkpoints, HubCheckpoints):
        if not model.checkpoints.local:
            return repr(model.checkpoints.sources[step]).encode()
        files = model.checkpoints.files(step)
    else:
        files = [CheckpointDirectory(Path(model.name)).path(step)]
    return repr([(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]).encode()


def facts_of(
    model: OpenedModel, factory: str | None, settings: AnalysisSettings, hessian: Sequences, evaluation: Sequences
) -> Facts:
    """What the pieces of the analysis depend on. Options of the clustering are not among it."""
    module, s = model.loss.module, settings
    return Facts(
        loss=[
            repr((module, getattr(module, "config", None))).encode(),
            code_hash("polca.external.hub").encode(),
            *_own_code(factory, module),
            *_bytes(*module.buffers(), *(p for p in module.parameters() if not p.requires_grad)),
        ],
        basis=[
            repr((s.per_step, s.tolerance, s.max_matvecs, s.seed, s.batch, s.parameter_names)).encode(),
            *_bytes(hessian.inputs, hessian.targets),
        ],
        projections=[repr((s.curvature, s.batch)).encode(), *_bytes(evaluation.inputs, evaluation.targets)],
        checkpoint={step: _checkpoint_facts(model, step) for step in model.steps},
    )
