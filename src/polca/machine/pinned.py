"""The environment that makes results bit-identical on every x86-64 CPU with AVX2.

Thread counts change the order of floating-point sums, and BLAS, MKL, oneDNN and NumPy choose kernels by the CPU that
they find. `ENVIRONMENT` pins both. Libraries read it when they are loaded, so commands and stages start anew with it
where they lack it; the package itself is a guest in its host's process and changes nothing there.
"""

import os
import sys
from pathlib import Path

ENVIRONMENT: dict[str, str] = dict(
    line.split("=", 1) for line in Path(__file__).with_name("pinned.env").read_text(encoding="utf-8").splitlines()
)
"""The variables of `pinned.env`, which the Makefile exports as well."""


def is_pinned() -> bool:
    """Whether this process has every variable of `ENVIRONMENT`."""
    return all(os.environ.get(name) == value for name, value in ENVIRONMENT.items())


def start_pinned() -> None:
    """For commands and stages: start this process anew with `ENVIRONMENT` where it lacks it, then configure PyTorch."""
    if not is_pinned():
        arguments = [sys.executable, *sys.orig_argv[1:]]
        sys.stdout.flush()
        os.execve(sys.executable, arguments, {**os.environ, **ENVIRONMENT})
    from polca.machine.runtime import configure_torch  # PyTorch: loaded once, by the process that stays

    configure_torch()
