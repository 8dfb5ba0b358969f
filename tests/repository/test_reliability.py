"""What a run meets in the world: damaged files, full disks, kills in the middle of a write. See docs/reliability.md."""

import errno
import itertools
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from mutations import ABSENT, mutants
from polca.method.projections import Projections
from tiny_preset import (
    ROOT,
    STAGES,
    TASKS,
    Outcome,
    Stage,
    contents,
    make_preset,
    quick_figures,
    remove_outputs,
    run_stage,
)

A, E = "runs/tiny/arithmetic", "runs/tiny/english"
OF_A, OF_E = "runs/tiny/results/arithmetic", "runs/tiny/results/english"
OF_CLUSTERS = tuple(f"{of}/{reading}" for of in (OF_A, OF_E) for reading in ("standardised", "raw"))
"""Where results of both tasks and readings lie."""

INPUTS = {
    Stage("labels", "english"): (f"{E}/data/evaluation.txt", f"{E}/data/evaluation.npz"),
    Stage("train", "english"): (f"{E}/data/training.npz",),
    Stage("basis", "arithmetic"): (f"{A}/checkpoints/step_000020.safetensors",),
    Stage("basis", "english"): (f"{E}/data/training.npz", f"{E}/checkpoints/step_000040.safetensors"),
    Stage("project", "arithmetic"): (
        f"{A}/checkpoints/step_000010.safetensors",
        f"{A}/bases/hessian.safetensors",
        f"{A}/bases/lca.safetensors",
    ),
    Stage("project", "english"): (
        f"{E}/checkpoints/step_000010.safetensors",
        f"{E}/bases/hessian.safetensors",
        f"{E}/data/evaluation.npz",
    ),
    Stage("trajectories", "arithmetic"): (f"{A}/projections/hessian.npz", f"{A}/projections/lca.npz"),
    Stage("trajectories", "english"): (
        *(f"{E}/projections/hessian.npz", f"{E}/data/evaluation.npz", f"{E}/data/corpus.json"),
    ),
    Stage("cluster", "arithmetic"): (
        *(f"{A}/trajectories/{name}" for name in ("polca.npz", "lca.npz", "facts.json")),
        *(f"{OF_A}/labels.npz", f"{OF_A}/losses.npz"),
    ),
    Stage("cluster", "english"): (
        *(f"{E}/trajectories/{name}" for name in ("polca.npz", "facts.json")),
        *(f"{OF_E}/labels.npz", f"{OF_E}/losses.npz", f"{E}/data/evaluation.npz", f"{E}/data/evaluation.txt"),
        "presets/tiny/params.yaml",
    ),
    Stage("tables"): (
        *(f"{OF_A}/standardised/{name}" for name in ("tables/clusters.csv", "tables/vectors.csv", "summary.json")),
        *(f"{OF_E}/standardised/{name}" for name in ("tables/clusters.csv", "tables/vectors.csv", "summary.json")),
        *(f"{OF_A}/raw/tables/clusters.csv", f"{OF_A}/raw/tables/vectors.csv", f"{OF_E}/raw/summary.json"),
        "presets/tiny/params.yaml",
    ),
    Stage("figures"): (
        *(f"{OF_A}/{name}" for name in ("labels.npz", "losses.npz", "standardised/clusters/loss.npz")),
        *(
            f"{OF_E}/{name}"
            for name in ("losses.npz", "standardised/clusters/polca.npz", "standardised/tables/contexts.csv")
        ),
    ),
}
"""Files that a stage reads, one of each kind."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which every stage of the tiny preset has run."""
    root = tmp_path_factory.mktemp("reliability") / "a päth"
    params = make_preset(root)
    with quick_figures():
        for stage in STAGES[:-1]:
            assert run_stage(stage, params).code == 0
    return root


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return shutil.copytree(whole, tmp_path / "a päth", symlinks=True)


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    with quick_figures():
        yield


SLOW = (Stage("cluster", "arithmetic"), Stage("tables"), Stage("figures"))
"""Their cases take minutes, few of them too."""
FEW = 3
"""`make thorough` tries one of so many faults."""


def cases(stages: Collection[Stage]) -> Any:
    """Every stage, for `make reliability`, and those that take seconds with few faults, for `make thorough`.

    A test is given the stage, and of how many faults it tries one.
    """
    every = [pytest.param(stage, 1, id=str(stage), marks=pytest.mark.slow) for stage in stages]
    few = [
        pytest.param(s, FEW, id=f"{s}-few", marks=[pytest.mark.thorough, pytest.mark.few])
        for s in stages
        if s not in SLOW
    ]
    return pytest.mark.parametrize(("stage", "one_of"), every + few)


def params_of(root: Path) -> Path:
    return root / "presets" / "tiny" / "params.yaml"


def spoilt(root: Path, before: dict[str, bytes]) -> list[str]:
    """Files that are not as before, put right again."""
    shutil.rmtree(root / ".work", ignore_errors=True)
    after = contents(root)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    for name in changed:
        if name in before:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(before[name])
        else:
            (root / name).unlink()
    return changed


def names_it(message: str, path: Path) -> bool:
    """Whether an error names a file; a checkpoint may be named by its step."""
    step = path.stem.removeprefix("step_").lstrip("0")
    return path.name in message or (path.stem.startswith("step_") and f"step {step}" in message)


@pytest.mark.reliability(
    "damaged, truncated, foreign or absent input file",
    "one line that names it, or the same result where it is not needed; nothing written",
)
@cases(INPUTS)
def test_damaged_input(stage: Stage, one_of: int, root: Path, record_property: Any) -> None:
    shutil.rmtree(root / ".work", ignore_errors=True)
    before = contents(root)
    wrong: list[str] = []
    tried = 0
    for number, name in enumerate(INPUTS[stage]):
        path = root / name
        faults = mutants(path, number)
        # Another start for each file, so that the few are of all kinds.
        for fault in {ABSENT: None, **dict.fromkeys(list(faults)[number % one_of :: one_of])}:
            mutant = faults[fault]
            tried += 1
            path.unlink() if mutant is None else path.write_bytes(mutant)
            try:
                outcome = run_stage(stage, params_of(root))
            except Exception as error:
                outcome = Outcome(1, [f"{type(error).__name__}: {error}", "traceback"])
            path.write_bytes(before[name])
            changed = spoilt(root, before)
            # A stage may do without a part of the file; then it gives what it gave before.
            if fault == ABSENT and not outcome.code:
                wrong.append(f"{name} is not read at all")
            if changed or (outcome.code and not (outcome.refused and names_it(outcome.errors[0], path))):
                wrong.append(f"{name}, {fault}: {outcome.errors}, changed: {changed}")
    record_property("tried", tried)
    assert not wrong, "\n".join(wrong)


OPERATIONS = ("fsync", "replace", "link", "unlink", "rmdir")
"""What changes the disk for good; between two of them a kill finds the same files wherever it strikes."""
LAST, SPREAD = 8, 4
"""Of a stage's operations the last ones, where results are put in place, and a few spread over the others."""
BY_OPERATION = [stage for stage in STAGES if stage != Stage("paper")]
"""Without the report, which needs its sources beside it and writes one file."""


@contextmanager
def counted(act: Callable[[int], None], names: Sequence[str] = OPERATIONS) -> Iterator[None]:
    """Call `act(n)` before the n-th of such operations."""
    count = itertools.count(1)

    def wrap(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            act(next(count))
            return real(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(os, name, wrap(getattr(os, name)))
        yield


def operations(stage: Stage, root: Path) -> int:
    """How many such operations a stage takes."""
    last = 0

    def note(number: int) -> None:
        nonlocal last
        last = number

    with counted(note):
        assert run_stage(stage, params_of(root)).code == 0
    return last


def killed_at(stage: Stage, root: Path, operation: int) -> None:
    """Run a stage in a process that ends, with no clearing up, before an operation."""
    child = os.fork()
    if child == 0:
        with counted(lambda number: os._exit(77) if number == operation else None):
            run_stage(stage, params_of(root))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 77


def chosen(number: int, one_of: int) -> list[int]:
    """The operations to strike at."""
    spread = np.linspace(1, max(number - LAST, 1), SPREAD).astype(int).tolist()
    return sorted({*spread, *range(max(1, number - LAST + 1), number + 1)}, reverse=True)[::one_of]


@pytest.mark.reliability(
    "ended before a rename, sync, link or removal",
    "resumes to the same bytes",
)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@cases(BY_OPERATION)
def test_killed_at_an_operation(stage: Stage, one_of: int, root: Path, record_property: Any) -> None:
    remove_outputs(stage, root)
    number = operations(stage, root)
    before = contents(root, "runs", "paper", "figures")
    for operation in (strikes := chosen(number, one_of)):
        remove_outputs(stage, root)  # as DVC does
        killed_at(stage, root, operation)
        left = contents(root, "runs", "paper", "figures")
        whole = {name: content for name, content in left.items() if ".partial" not in name}
        assert whole.items() <= before.items(), f"operation {operation}: half a result under its real name"
        remove_outputs(stage, root)
        assert run_stage(stage, params_of(root)).code == 0
        assert contents(root, "runs", "paper", "figures") == before, f"operation {operation}"
        assert not [path for path in (root / ".work" / "tiny").iterdir() if path.is_dir()], f"operation {operation}"
    record_property("tried", len(strikes))


@pytest.mark.reliability(
    "disk full at a write",
    "one line, nothing half-written; the next run gives the same bytes",
)
@cases(BY_OPERATION)
def test_disk_full_at_a_write(stage: Stage, one_of: int, root: Path, record_property: Any) -> None:
    remove_outputs(stage, root)
    tried = 0

    def fill(number: int) -> None:
        nonlocal writes
        writes = number
        if number == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writes, failing = 0, 0
    with counted(fill, ["fsync"]):
        assert run_stage(stage, params_of(root)).code == 0
    before = contents(root, "runs", "paper", "figures")
    for failing in chosen(writes, one_of):
        tried += 1
        remove_outputs(stage, root)
        with counted(fill, ["fsync"]):
            outcome = run_stage(stage, params_of(root))
        assert outcome.refused, (failing, outcome)
        assert "the disk is full: free some space" in outcome.errors[0]
        assert contents(root, "runs", "paper", "figures").items() <= before.items()
        remove_outputs(stage, root)
        assert run_stage(stage, params_of(root)).code == 0
        assert contents(root, "runs", "paper", "figures") == before
    record_property("tried", tried)


def _same_for_all(p: Projections) -> Projections:
    tokens = p.losses.shape[1]
    return replace(p, losses=np.repeat(p.losses[:, :1], tokens, 1), gradients=np.repeat(p.gradients[:, :1], tokens, 1))


AFTER_TRAJECTORIES = (Stage("cluster", "arithmetic"), Stage("cluster", "english"), Stage("tables"), Stage("figures"))

DEGENERATE: dict[str, Callable[[Projections], Projections]] = {
    "constant trajectories": lambda p: replace(p, gradients=np.zeros_like(p.gradients), losses=np.ones_like(p.losses)),
    "duplicated trajectories": _same_for_all,
    "every token rises and is dropped": lambda p: replace(p, gradients=_with_movement(p, np.ones(p.losses.shape[1]))),
    "one token is left": lambda p: replace(p, gradients=_with_movement(p, np.arange(p.losses.shape[1]) - 0.5)),
    "huge values": lambda p: replace(p, gradients=p.gradients * np.float32(1e30)),
}


def _with_movement(p: Projections, sign: np.ndarray) -> np.ndarray:
    """Gradients along which token x's loss changes by `sign[x]` times a positive number at every step."""
    moves = np.concatenate([p.movements, p.movements[-1:]])
    return (np.sign(moves)[:, None, :] * np.sign(sign)[None, :, None]).astype(np.float32)


@pytest.mark.thorough
@pytest.mark.reliability(
    "trajectories constant, duplicated, huge, or rising so that no token or one is left",
    "the stages end, with no clusters where there are none",
)
@pytest.mark.parametrize("kind", DEGENERATE)
def test_degenerate_trajectories(kind: str, root: Path) -> None:
    files = [path for task in (A, E) for path in (root / task / "projections").glob("*.npz")]
    assert len(files) == 5
    for path in files:
        DEGENERATE[kind](Projections.load(path)).save(path)
    for stage in (Stage("trajectories", "arithmetic"), Stage("trajectories", "english"), *AFTER_TRAJECTORIES):
        remove_outputs(stage, root)
        outcome = run_stage(stage, params_of(root))
        if kind == "huge values":
            # Squares of them do not fit into floats: told, not computed with.
            assert outcome.refused
            assert "NaN or infinite values" in outcome.errors[0]
            break
        assert outcome.code == 0, (stage, outcome)


@pytest.mark.thorough
@pytest.mark.reliability(
    "every token an outlier",
    "the stages end, with no clusters",
)
def test_every_token_an_outlier(root: Path) -> None:
    params = yaml.safe_load(params_of(root).read_text())
    sections = [params[task]["clustering"] for task in TASKS]
    for section in (*sections, sections[1]["finer"]):
        section["min_cluster_size"] = 10_000
    params_of(root).write_text(yaml.safe_dump(params))
    for stage in AFTER_TRAJECTORIES:
        remove_outputs(stage, root)
        assert run_stage(stage, params_of(root)).code == 0, stage
    assert all(pd.read_csv(root / of / "tables" / "clusters.csv").empty for of in OF_CLUSTERS)


CODE = (
    r"\bimport pickle|pickle\.loads?\(|torch\.load\(|allow_pickle=True|trust_remote_code=True|\bjoblib\b|extractall\(|"
    r"yaml\.(?:unsafe_|full_)?load\(|(?<![.\w])(?:eval|exec)\("
)
"""What runs or unpacks what a file says."""


@pytest.mark.reliability(
    "sources searched for pickle, `torch.load`, `eval` and their like",
    "none",
)
def test_nothing_from_outside_is_executed() -> None:
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "pipelines").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
    found = [f"{path.name}: {match[0]}" for path in sources for match in re.finditer(CODE, path.read_text())]
    assert len(sources) > 100
    assert not found
