"""The processes that torchrun starts: who am I, which share is mine, sums over all of them.

Everything is a no-op in one process, and `torch.distributed` is imported only where torchrun set WORLD_SIZE > 1. All
processes must see the same files; only the first one writes.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from polca.errors import PolcaError

_rank, _world = 0, 1
_store: Any = None


def requested() -> bool:
    """Whether torchrun started more than one process."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def rank() -> int:
    """The number of this process, from 0."""
    return _rank


def world_size() -> int:
    """How many processes work together."""
    return _world


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return _rank == 0


@contextmanager
def group() -> Iterator[None]:
    """Join the processes that torchrun's environment names: gloo for CPU tensors, NCCL for those on GPUs."""
    global _rank, _world, _store
    if not requested():
        yield
        return
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    try:
        store, number, count = next(rendezvous("env://"))
    except ValueError as error:
        raise PolcaError(f"WORLD_SIZE is set, but {error}: start the stage with torchrun") from error
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        store=store,
        rank=number,
        world_size=count,
        # A process that fails ends all through torchrun; one that takes long is no failure.
        timeout=timedelta(hours=12),
    )
    _rank, _world, _store = number, count, store
    yield
    # Not after a failure: the others would be waited for.
    barrier()
    dist.destroy_process_group()
    _rank, _world, _store = 0, 1, None


def fails_first() -> bool:
    """Whether this process is the first to fail, and so the one that says why; asked once by each that fails."""
    if _store is None:
        return True
    try:
        return int(_store.add("polca/failed", 1)) == 1
    except RuntimeError:  # the store is gone with the process that failed
        return False


def barrier() -> None:
    """Wait until every process has come here."""
    if _world > 1:
        import torch.distributed as dist

        dist.all_reduce(torch.zeros(1))


def from_first(tensor: Tensor) -> Tensor:
    """The first process' values of `tensor`, in all of them."""
    if _world == 1:
        return tensor
    import torch.distributed as dist

    tensor = tensor.contiguous()
    dist.broadcast(tensor, 0)
    return tensor


def sum_over_ranks(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Sums over the processes, of one dtype and device, in one message.

    Reduced to the first process and sent out from there, so that all hold the same bits whatever the backend does; a
    ring moves as many bytes in an all-reduce.
    """
    if _world == 1:
        return list(tensors)
    import torch.distributed as dist

    flat = torch.cat([t.detach().reshape(-1) for t in tensors])
    dist.reduce(flat, 0)
    dist.broadcast(flat, 0)
    parts = flat.split([t.numel() for t in tensors])
    return [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)]


def gather(value: Any) -> list[Any]:
    """Every process' `value`, in their order."""
    if _world == 1:
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * _world
    dist.all_gather_object(values, value)
    return values


def _sequences(batch: Any) -> int:
    """Number of sequences of a batch: the first dimension of its tensors.

    Raises:
        PolcaError: the tensors differ in it, or there are none.
    """
    found: set[int] = set()

    def look(part: Any) -> None:
        if isinstance(part, Tensor) and part.ndim:
            found.add(len(part))
        elif isinstance(part, Mapping):
            look(list(part.values()))
        elif isinstance(part, list | tuple):
            for inner in part:
                look(inner)

    look(batch)
    if len(found) != 1:
        raise PolcaError("a batch cannot be shared out: its tensors need one first dimension, the sequences")
    return found.pop()


def _rows(part: Any, start: int, stop: int) -> Any:
    """Sequences `start` … `stop` − 1 of a batch."""
    if isinstance(part, Tensor):
        return part[start:stop] if part.ndim else part
    if isinstance(part, Mapping):
        return {name: _rows(inner, start, stop) for name, inner in part.items()}
    if isinstance(part, list | tuple):
        return type(part)([_rows(inner, start, stop) for inner in part])
    return part


def shard(batches: Sequence[Any]) -> list[Any]:
    """This process' share of the sequences of `batches`: successive ones, equal in number but for one.

    Batches are tensors whose first dimension is the sequence, in (nested) tuples, lists or dicts.

    Raises:
        PolcaError: there are fewer sequences than processes.
    """
    if _world == 1:
        return list(batches)
    sizes = [_sequences(batch) for batch in batches]
    total = sum(sizes)
    if total < _world:
        raise PolcaError(f"{total} sequences cannot be shared out over {_world} processes: start fewer of them")
    first, last = total * _rank // _world, total * (_rank + 1) // _world
    share, offset = [], 0
    for batch, size in zip(batches, sizes, strict=True):
        start, stop = max(first - offset, 0), min(last - offset, size)
        if start < stop:
            share.append(_rows(batch, start, stop))
        offset += size
    return share
