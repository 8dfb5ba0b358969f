"""Importing the package changes nothing in its host; commands pin their own process; a library call says once."""

import os
import subprocess
import sys

import torch

from polca.machine.runtime import ENVIRONMENT

PLAIN = {k: v for k, v in os.environ.items() if k not in ENVIRONMENT}
CAPABILITY = "print(torch.get_num_threads(), torch.backends.cpu.get_cpu_capability())"


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], env=PLAIN, capture_output=True, text=True, check=True)


def test_importing_changes_nothing_in_the_host() -> None:
    code = (
        "import os; before = dict(os.environ); import torch; threads = torch.get_num_threads(); import polca; "
        "assert dict(os.environ) == before; assert torch.get_num_threads() == threads; "
        "assert not torch.are_deterministic_algorithms_enabled()"
    )
    assert python("-W", "error", "-c", code).stderr == ""


def test_a_command_starts_anew_with_the_environment() -> None:
    code = f"from polca.machine.runtime import start_pinned; start_pinned(); import torch; {CAPABILITY}"
    assert python("-c", code).stdout.split() == ["1", "AVX2"]


def test_a_library_call_warns_once() -> None:
    code = "from polca.machine.runtime import warn_unpinned\nfor _ in range(3): warn_unpinned()"
    assert python("-c", code).stderr.count("not bit for bit") == 1


def test_this_process_runs_pinned() -> None:
    assert torch.get_num_threads() == 1
