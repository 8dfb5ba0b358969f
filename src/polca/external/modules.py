"""The token loss of any `torch.nn.Module` that gives logits, and its checkpoints as safetensors files."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from polca.errors import PolcaError
from polca.external.outputs import logits_of
from polca.method.checkpoints import CheckpointDirectory
from polca.method.guard import check_repeatable

__all__ = ["ModuleCheckpoints", "ModuleLoss", "check_repeatable", "parameters_of"]


def parameters_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters by name, detached, without frozen ones (`requires_grad=False`), which training does not move.

    Tied weights, such as an embedding that is also the unembedding, appear once.

    Raises:
        PolcaError: all are frozen.
    """
    moving = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    if not moving:
        raise PolcaError(
            "every parameter of the model is frozen: call requires_grad_(True) on those that training moved"
        )
    return moving


@contextmanager
def _without_onednn() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "TF32 acceleration on top of oneDNN")  # said of a flag that is not touched
        with torch.backends.mkldnn.flags(enabled=False):
            yield


@contextmanager
def plain_kernels(recurrent: bool) -> Iterator[None]:
    """Attention and, if asked for, recurrent layers by operations that have derivatives of every order.

    Fused attention has no second derivative, and the fused encoder layer and oneDNN's LSTM have none in forward mode.
    """
    mha = torch.backends.mha
    fused = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), _without_onednn() if recurrent else nullcontext():
            yield
    finally:
        mha.set_fastpath_enabled(fused)


class ModuleLoss:
    """`token_loss(params, (inputs, targets)) → losses [N, targets]`: cross-entropy of a module's logits, in nats.

    The module is put into evaluation mode (no dropout). The logits in its output (`logits_of`) are `[N, classes]` for
    targets `[N]` or `[N, 1]`, and `[N, T, classes]` for targets `[N, T]`. Buffers and frozen parameters are the
    module's own. Targets of −100 are ignored: they have no loss. Layers run by `plain_kernels`.

    Args:
        module: called as `module(inputs, **arguments)`.
        arguments: further keyword arguments of every call.
    """

    def __init__(self, module: nn.Module, **arguments: Any) -> None:
        self.module = module.eval()
        self._arguments = arguments
        self._recurrent = any(isinstance(layer, nn.RNNBase) for layer in module.modules())

    def __call__(self, params: Mapping[str, Tensor], batch: tuple[Tensor, Tensor]) -> Tensor:
        inputs, targets = batch
        if inputs.is_floating_point():  # NumPy's numbers are of double precision, weights as a rule are not
            inputs = inputs.to(next(iter(params.values())).dtype)
        with plain_kernels(self._recurrent):
            output = torch.func.functional_call(self.module, dict(params), (inputs,), self._arguments)
        logits = logits_of(output)
        if targets.dim() == 1:
            targets = targets.unsqueeze(-1)
        if logits.dim() == 2:
            logits = logits.unsqueeze(-2)
        if tuple(logits.shape[:-1]) != tuple(targets.shape):
            raise PolcaError(
                f"the model's logits {tuple(logits.shape)} do not fit targets {tuple(targets.shape)}: "
                "give logits [N, classes] for targets [N], or [N, T, classes] for targets [N, T]"
            )
        return F.cross_entropy(logits.transpose(-1, -2), targets, reduction="none")


class ModuleCheckpoints:
    """`step_*.safetensors` files of a directory as checkpoints of `module`.

    A file holds every parameter; it may also hold buffers and frozen parameters, which must be those of the module (the
    method follows only what training moves), and the second name of a tied weight.

    Raises:
        PolcaError: no checkpoint there, or one that is damaged, of another model, or not finite.
    """

    def __init__(self, directory: Path, module: nn.Module) -> None:
        self._files = CheckpointDirectory(directory)
        self._shapes = {name: tuple(p.shape) for name, p in parameters_of(module).items()}
        self._buffers = {name: b.detach() for name, b in module.named_buffers()}
        every = dict(module.named_parameters(remove_duplicate=False))
        self._frozen = {name: p.detach() for name, p in every.items() if not p.requires_grad}
        self._tied = every.keys() - self._shapes.keys() - self._frozen.keys()
        self.steps()

    def steps(self) -> Sequence[int]:
        """Training steps with a checkpoint, increasing."""
        return self._files.steps()

    def load(self, step: int) -> dict[str, Tensor]:
        """Parameters by name at `step`."""
        path, tensors = self._files.path(step), self._files.load(step)
        for name, shape in self._shapes.items():
            if name not in tensors or tuple(tensors[name].shape) != shape:
                raise PolcaError(f"{path}: parameter {name!r} is missing or of another shape: not of this model")
        for name in tensors.keys() - self._shapes.keys() - self._tied:
            if name in self._frozen:
                if not torch.equal(tensors[name], self._frozen[name]):
                    raise PolcaError(
                        f"{path}: parameter {name!r} is frozen in the model, and differs from it: let it require a "
                        "gradient, or load its values into the model first"
                    )
                continue
            if name not in self._buffers:
                raise PolcaError(f"{path}: {name!r} is no parameter of the model that the factory gives")
            if not torch.equal(tensors[name], self._buffers[name]):
                raise PolcaError(
                    f"{path}: buffer {name!r} differs from the model's own: POLCA follows parameters only; "
                    "use layers without running statistics"
                )
        return {name: tensors[name] for name in self._shapes}
