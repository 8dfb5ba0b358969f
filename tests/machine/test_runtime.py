"""Importing the package changes nothing in its host; commands pin their own process; a library call says once."""

import os
import subprocess
import sys

import torch

from polca.machine.pinned import ENVIRONMENT

PLAIN = {k: v for k, v in os.environ.items() if k not in ENVIRONMENT}
CAPABILITY = "print(torch.get_num_threads(), torch.backends.cpu.get_cpu_capability())"


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], env=PLAIN, capture_output=True, text=True, check=True)


GUEST = """
import os, sys, threading, warnings
import filelock, numpy, pandas, psutil, rich.progress, safetensors.torch, scipy.spatial.distance, torch, yaml

def state():
    return {
        "environment": dict(os.environ),
        "warnings": list(warnings.filters),
        "threads": (threading.active_count(), torch.get_num_threads(), torch.get_num_interop_threads()),
        "PyTorch": (torch.are_deterministic_algorithms_enabled(), torch.get_default_dtype(), torch.initial_seed()),
        "TF32": (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32),
        "NumPy": (numpy.geterr(), numpy.random.get_state()[1].tolist()),
        "hooks": (sys.excepthook, list(sys.path), list(sys.meta_path)),
    }

before = state()
import polca
names = [getattr(polca, name) for name in polca.__all__]
assert {name for name, value in state().items() if value != before[name]} == set()
print(" ".join(sys.modules))
"""


def test_importing_changes_nothing_in_the_host() -> None:
    """Nor does it load what takes seconds, or is not everyone's, before it is used."""
    done = python("-W", "error", "-c", GUEST)
    assert done.stderr == ""
    heavy = {"hdbscan", "sklearn", "matplotlib", "transformers", "tokenizers", "spacy", "plotly", "datasets", "typer"}
    assert "polca" in done.stdout.split()
    assert not heavy & set(done.stdout.split())


def test_a_command_starts_anew_with_the_environment() -> None:
    code = f"from polca.machine.pinned import start_pinned; start_pinned(); import torch; {CAPABILITY}"
    assert python("-c", code).stdout.split() == ["1", "AVX2"]


def test_a_library_call_warns_once() -> None:
    code = "from polca.machine.runtime import warn_unpinned\nfor _ in range(3): warn_unpinned()"
    assert python("-c", code).stderr.count("not bit for bit") == 1


def test_this_process_runs_pinned() -> None:
    assert torch.get_num_threads() == 1
