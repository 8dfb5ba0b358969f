"""The pinned environment takes effect in a fresh process, or says that it cannot."""

import os
import subprocess
import sys

import torch

from polca.runtime import ENVIRONMENT

PLAIN = {k: v for k, v in os.environ.items() if k not in ENVIRONMENT}


def test_importing_first_pins_the_environment() -> None:
    code = "import polca, torch; print(torch.get_num_threads(), torch.backends.cpu.get_cpu_capability())"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=PLAIN, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["1", "AVX2"]


def test_importing_late_warns() -> None:
    code = "import numpy, polca"
    result = subprocess.run([sys.executable, "-c", code], env=PLAIN, capture_output=True, text=True, check=True)
    assert "numpy was imported before polca without the pinned settings" in result.stderr


def test_this_process_runs_pinned() -> None:
    assert torch.get_num_threads() == 1
