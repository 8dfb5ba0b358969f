"""What the tests of whole runs share."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from polca.study.on_device import jobs


@pytest.fixture(scope="session")
def threads() -> type[ThreadPoolExecutor]:
    """Threads of this process in the place of processes, which take seconds to start."""

    class Threads(ThreadPoolExecutor):
        _processes: Mapping[int, Any] = {}

        def __init__(self, workers: int, **_: Any) -> None:
            super().__init__(workers)

    return Threads


@pytest.fixture
def in_threads(threads: type[ThreadPoolExecutor], monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs in threads."""
    monkeypatch.setattr(jobs, "ProcessPoolExecutor", threads)
