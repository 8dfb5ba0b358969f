"""The same pure function over many items, in one or several single-thread processes, resumable.

Results depend on the items alone, never on the number of processes.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from polca.errors import PolcaError
from polca.machine import distributed
from polca.machine.files import read_npz, write_npz
from polca.machine.progress import progress
from polca.machine.runtime import configure_torch, device

_shared: Any = None


def _exit_with_parent() -> None:
    """End this worker as soon as its parent is gone: a killed stage would otherwise leave its workers computing."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _start(shared: Any) -> None:
    global _shared
    _exit_with_parent()
    configure_torch()
    _shared = shared


def _call(function: Callable[[Any, Any], Any], item: Any) -> Any:
    return function(_shared, item)


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flatten(value, f"{prefix}{key}/") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _unflatten(flat: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *folders, leaf = key.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[leaf] = value
    return tree


def default_workers() -> int:
    """Number of cores that this process may use, at most one a GiB of memory that is free, at least one.

    The environment variable POLCA_WORKERS, where it is set, says another number.

    Raises:
        PolcaError: it is set to something else than a number.
    """
    if wanted := os.environ.get("POLCA_WORKERS"):
        if not wanted.isdecimal() or int(wanted) < 1:
            raise PolcaError(f"POLCA_WORKERS = {wanted!r}: expected a number of processes, at least 1")
        return int(wanted)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, int(psutil.virtual_memory().available // 2**30)))


def map_processes(
    function: Callable[[Any, Any], dict[str, Any]],
    shared: Any,
    items: Sequence[Any],
    *,
    workers: int | None = None,
    description: str,
    resume: Path | None = None,
    shared_out: bool = False,
) -> list[dict[str, Any]]:
    """`[function(shared, item) for item in items]`, in order, on `workers` processes.

    Args:
        function: a module-level function; returns arrays in (nested) dicts, none of them empty.
        shared: sent once to every process.
        workers: number of processes; None is `default_workers()`.
        resume: folder in which results are kept, so that a killed run goes on where it was; the caller empties it.
        shared_out: under torchrun each process computes a share of the items, and all get all results; otherwise each
            computes all of them, together.
    """
    workers = default_workers() if workers is None else workers
    if workers < 1:
        raise PolcaError(f"workers = {workers}: must be at least 1")
    if distributed.world_size() > 1 or device().type != "cpu":
        workers = 1  # torchrun's processes are the workers; two on one GPU would only share its memory
    # A share does not depend on what is finished, on which processes could disagree.
    mine = items[distributed.rank() :: distributed.world_size()] if shared_out else items
    results: dict[Any, dict[str, Any]] = {}
    for item in mine:
        path = None if resume is None else resume / f"{item}.npz"
        if path is not None and path.is_file():
            try:
                results[item] = _unflatten(read_npz(path))
            except PolcaError:
                path.unlink()

    def keep(item: Any, result: dict[str, Any]) -> None:
        results[item] = result
        if resume is not None and (shared_out or distributed.is_first()):
            write_npz(resume / f"{item}.npz", {k: np.asarray(v) for k, v in _flatten(result).items()})

    missing = [item for item in mine if item not in results]
    with progress(description, len(mine), len(results)) as bar:
        if workers == 1 or len(missing) < 2:
            for item in missing:
                keep(item, function(shared, item))
                bar.advance()
        else:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(shared,)) as pool:
                futures = {pool.submit(_call, function, item): item for item in missing}
                try:
                    for future in as_completed(futures):
                        keep(futures[future], future.result())
                        bar.advance()
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
    if shared_out:
        for others in distributed.gather(results):
            results |= others
    distributed.barrier()
    return [results[item] for item in items]
