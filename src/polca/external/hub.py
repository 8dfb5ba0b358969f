"""Causal language models of Hugging Face as checkpoints: revisions on the hub, or a local folder a checkpoint.

Nothing that the hub names becomes a path, only safetensors are read, and no code of a repository is run. On a local
path there is no network call. `transformers` is imported when first needed, since nothing else here needs it.
"""

import fnmatch
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polca.errors import PolcaError
from polca.external.modules import ModuleLoss, parameters_of
from polca.machine.extras import needs
from polca.machine.files import read_json
from polca.machine.text import one_line

_STEP = re.compile(
    r"(?:((?:[a-z0-9]+-)*(?:global_step|step|checkpoint|ckpt|epoch|iter))[-_]?)?(\d+)(?:-tokens\d+[a-z]?)?",
    re.ASCII | re.IGNORECASE,
)
"""Kind (`stage1-step`, say; none for a bare number) and number of a checkpoint's name."""
_LEFTOVER = re.compile(r"(.*\.)?((attention|attn|self_attn)\.(bias|masked_bias)|rotary_emb\.inv_freq|position_ids)")
"""Buffers that older versions of transformers saved, and that newer ones compute."""
_WEIGHTS, _INDEX, _CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
_REPOSITORY = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)?", re.ASCII)
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def _transformers() -> Any:
    with needs("models"):
        import transformers
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def _reason(error: BaseException) -> str:
    """The first sentence of somebody else's message."""
    return f"{type(error).__name__}: {one_line(error)[:200]}"


@dataclass(frozen=True)
class HubCheckpoints:
    """Checkpoints of a causal language model.

    Attributes:
        name: local folder or repository of the hub.
        sources: by training step, what to load: (folder or repository, revision).
        local: whether sources are folders.
        leftovers: names of old buffers that a checkpoint held and that were passed over; filled as they are loaded.

    Raises:
        PolcaError: a checkpoint is missing, holds no safetensors, is of another model, or is not finite.
    """

    name: str
    sources: Mapping[int, tuple[str, str | None]]
    local: bool
    leftovers: set[str] = field(default_factory=set, repr=False, compare=False)
    _shapes: dict[str, tuple[int, ...]] = field(default_factory=dict, repr=False, compare=False)

    def steps(self) -> Sequence[int]:
        """Training steps with a checkpoint, increasing."""
        return sorted(self.sources)

    def _where(self, step: int) -> str:
        source, revision = self.sources[step]
        return source if revision is None else f"{source}, revision {revision}"

    def _file(self, step: int, name: str) -> Path | None:
        """A file of the checkpoint of `step`, fetched where it is on the hub; None where it has none."""
        source, revision = self.sources[step]
        if self.local:
            path = Path(source) / name
            return path if path.is_file() else None
        try:
            found = _transformers().utils.cached_file(
                source, name, revision=revision, _raise_exceptions_for_missing_entries=False
            )
        except Exception as error:  # the network, the hub and its client each raise their own kinds
            raise PolcaError(
                f"{self._where(step)}: {name} cannot be fetched ({_reason(error)}): correct the name, or try again"
            ) from error
        return None if found is None else Path(found)

    def files(self, step: int) -> list[Path]:
        """The configuration and the weights of `step`, which on the hub are fetched for it.

        Raises:
            PolcaError: there are none, or an adapter alone.
        """
        config, index, whole = (self._file(step, name) for name in (_CONFIG, _INDEX, _WEIGHTS))
        if index is None and whole is None and self._file(step, "adapter_config.json") is not None:
            raise PolcaError(
                f"{self._where(step)}: holds an adapter (PEFT) and no model: merge it into its model "
                "(merge_and_unload) and save that with save_pretrained"
            )
        names = [_WEIGHTS] if index is None else sorted(set(read_json(index).get("weight_map", {}).values()))
        # A name that leads out of the folder is nobody's weights.
        shards = [self._file(step, name) if Path(name).name == name else None for name in names]
        found = [path for path in (config, index if whole is None else None, *shards) if path is not None]
        if config is None or not shards or None in shards:
            missing = (
                _CONFIG
                if config is None
                else next((n for n, p in zip(names, shards, strict=True) if p is None), _INDEX)
            )
            raise PolcaError(
                f"{self._where(step)}: no causal language model in safetensors there (no {missing}): "
                "correct the name, or save it with save_pretrained"
            )
        read_json(config)
        return found

    def module(self, step: int) -> nn.Module:
        """The model at `step`: float32, plain ("eager") attention and experts, evaluation mode."""
        source, revision = self.sources[step]
        try:
            model, info = _transformers().AutoModelForCausalLM.from_pretrained(
                source,
                revision=revision or "main",
                local_files_only=self.local,
                use_safetensors=True,
                trust_remote_code=False,
                attn_implementation="eager",
                experts_implementation="eager",
                dtype=torch.float32,
                output_loading_info=True,
            )
        except PolcaError:
            raise
        except Exception as error:  # each part of transformers raises its own kinds
            raise PolcaError(
                f"{self._where(step)}: no causal language model in safetensors there ({_reason(error)}): "
                "correct the name, or save it with save_pretrained"
            ) from error
        for kind in ("missing_keys", "mismatched_keys", "unexpected_keys"):
            names = sorted(map(str, info[kind]))
            if kind == "unexpected_keys":
                old = {name for name in names if _LEFTOVER.fullmatch(name)}
                self.leftovers.update(old)
                names = [name for name in names if name not in old]
            if names:
                odd = names[0]
                raise PolcaError(
                    f"{self._where(step)}: {odd!r} is among the {kind.replace('_', ' ')}: the weights are not of the "
                    "model that config.json describes"
                )
        return model.eval()  # type: ignore[no-any-return]

    def load(self, step: int) -> Mapping[str, Tensor]:
        """Parameters by name at `step`; tied weights once."""
        params = parameters_of(self.module(step))
        shapes = {name: tuple(p.shape) for name, p in params.items()}
        if not self._shapes:
            self._shapes.update(shapes)
        if shapes != self._shapes:
            odd = sorted(set(shapes.items()) ^ set(self._shapes.items()))[0][0]
            raise PolcaError(
                f"{self._where(step)}: parameter {odd!r} differs from that of the other checkpoints: of another model"
            )
        for name, p in params.items():
            if not torch.isfinite(p).all():
                raise PolcaError(f"{self._where(step)}: parameter {name!r} has NaN or infinite values: leave it out")
        return params

    def tokenizer(self, name: str | None = None) -> Any:
        """The tokenizer in the folder `name`; by default the model's own."""
        source, revision = self.sources[self.steps()[-1]]
        if self.local and any((Path(self.name) / f).is_file() for f in _TOKENIZER_FILES):
            source = self.name
        return load_tokenizer(source, revision, self.local) if name is None else load_tokenizer(name)


def load_tokenizer(source: str, revision: str | None = None, local: bool = True) -> Any:
    """A Hugging Face tokenizer.

    Raises:
        PolcaError: there is none.
    """
    transformers = _transformers()
    try:
        return transformers.AutoTokenizer.from_pretrained(
            source, revision=revision or "main", local_files_only=local, trust_remote_code=False
        )
    except Exception as error:  # each kind of tokenizer raises its own
        raise PolcaError(
            f"{source}: no readable tokenizer there ({_reason(error)}): name the folder of one with --tokenizer"
        ) from error


def _by_step(names: Iterable[str], source: str, pattern: str | None) -> dict[int, str]:
    """Names such as `step1000`, `stage1-step25-tokens1B`, `checkpoint-500` or `25` by their number.

    Raises:
        PolcaError: two of one number, or of several kinds, of which each would be a part of the checkpoints only.
    """
    kept = sorted(names if pattern is None else fnmatch.filter(names, pattern))
    matches = {name: match for name in kept if (match := _STEP.fullmatch(name))}
    kinds = Counter(f"{match[1].lower()}…" if match[1] else "by a number alone" for match in matches.values())
    if len(kinds) > 1:
        said = ", ".join(f"{count} named {kind}" for kind, count in sorted(kinds.items()))
        raise PolcaError(f"{source}: checkpoints of several kinds ({said}): choose one with --names, such as 'step*'")
    found: dict[int, str] = {}
    for name, match in matches.items():
        step = int(match[2])
        if step in found:
            raise PolcaError(f"{source}: {found[step]!r} and {name!r} are both step {step}: choose with --names")
        found[step] = name
    return found


def _hub_revisions(name: str, pattern: str | None) -> dict[int, str]:
    import huggingface_hub

    if not _REPOSITORY.fullmatch(name) or ".." in name:
        raise PolcaError(f"model {name!r}: no such folder, and not the name of a Hugging Face repository (owner/model)")
    try:
        refs = huggingface_hub.list_repo_refs(name)
    except Exception as error:  # the network, the hub and its client each raise their own kinds
        raise PolcaError(
            f"model {name!r}: no such folder, and the hub gives no list of its revisions ({_reason(error)}): "
            "correct the name, or download the revisions into folders step0, step1000, …"
        ) from error
    return _by_step([ref.name for ref in [*refs.branches, *refs.tags]], name, pattern)


def open_causal_lm(source: str, names: str | None = None) -> HubCheckpoints:
    """A model's checkpoints.

    Args:
        source: a folder with one sub-folder a checkpoint (`step1000`, `step_1000`, `stage1-step1000-tokens2B`,
            `global_step1000`, `checkpoint-1000`, `epoch-10`, `1000`), each as `save_pretrained` writes it; where no
            such folder exists, the name of a hub repository with such revisions.
        names: a pattern such as `stage1-*` for the names of those to take; all by default.

    Raises:
        PolcaError: no such folder or repository, or fewer than two checkpoints in it.
    """
    _transformers()
    path = Path(source)
    local = path.exists()
    if local:
        folders = [p for p in path.iterdir() if p.is_dir()] if path.is_dir() else []
        found = _by_step([p.name for p in folders], source, names)
    else:
        found = _hub_revisions(source, names)
    if len(found) < 2:
        files = path.is_dir() and any(path.glob("step_*.safetensors"))
        raise PolcaError(
            f"{source}: {len(found)} {'sub-folders' if local else 'revisions'} named step…: need two checkpoints at "
            f"least{'; for step_*.safetensors files give --factory as well' if files else ''}"
        )
    return HubCheckpoints(source, {s: (str(path / n), None) if local else (source, n) for s, n in found.items()}, local)


def causal_loss(checkpoints: HubCheckpoints, step: int) -> ModuleLoss:
    """The next-token loss of the model, of which `step` gives the configuration."""
    return ModuleLoss(checkpoints.module(step), use_cache=False)
