"""The checkpoint contract and what damaged or foreign files give."""

import pytest
import torch
from safetensors.torch import save_file

from polca.errors import PolcaError
from polca.method.checkpoints import CheckpointDirectory, MemoryCheckpoints, select_steps

PARAMS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4)}


@pytest.fixture
def directory(tmp_path):
    checkpoints = CheckpointDirectory(tmp_path, {n: p.shape for n, p in PARAMS.items()})
    for step in (0, 20, 40):
        checkpoints.save(step, PARAMS)
    return checkpoints


def test_round_trip(directory) -> None:
    assert directory.steps() == [0, 20, 40]
    assert all(torch.equal(directory.load(20)[n], p) for n, p in PARAMS.items())


class TestMemory:
    def test_a_copy(self) -> None:
        """Training changes parameters in place after they were kept."""
        checkpoints, params = MemoryCheckpoints(), {n: p.clone().requires_grad_() for n, p in PARAMS.items()}
        checkpoints.save(20, params)
        with torch.no_grad():
            for p in params.values():
                p.add_(1)
        found = checkpoints.load(20)
        assert all(torch.equal(found[n], p) for n, p in PARAMS.items())
        assert not any(p.requires_grad for p in found.values())
        # What a reader does with the mapping is its own affair.
        del found["a"]
        assert list(checkpoints.load(20)) == ["a", "b"]

    def test_steps(self) -> None:
        checkpoints = MemoryCheckpoints()
        for step in (40, 0, 20):
            checkpoints.save(step, PARAMS)
        assert checkpoints.steps() == [0, 20, 40]
        with pytest.raises(PolcaError, match=r"step 10: no such checkpoint \(there are 3\): train first"):
            checkpoints.load(10)

    def test_parameters_are_in_the_order_of_files(self, tmp_path) -> None:
        """Random vectors are drawn in it, so that a basis would not be the same from memory as from files."""
        params = {"z": torch.zeros(2), "b.weight": torch.ones(1), "a": torch.ones(3), "b": torch.ones(2, 2)}
        memory, files = MemoryCheckpoints(), CheckpointDirectory(tmp_path)
        for checkpoints in (memory, files):
            checkpoints.save(0, params)
        assert list(memory.load(0)) == list(files.load(0))
        assert list(memory.load(0)) != list(params)


@pytest.mark.parametrize("keep", [0, 5, 60, 100])
def test_truncated_file(directory, keep) -> None:
    path = directory.path(20)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        PolcaError, match=r"step_000020\.safetensors: not a readable safetensors file.*delete it"
    ) as error:
        directory.load(20)
    assert "\n" not in str(error.value)


def test_foreign_files(directory) -> None:
    directory.path(20).write_text("not a checkpoint at all, but long enough to look like one")
    with pytest.raises(PolcaError, match="not a readable safetensors"):
        directory.load(20)
    save_file({"a": PARAMS["a"], "b": torch.ones(5)}, directory.path(40))
    with pytest.raises(PolcaError, match="parameter 'b' differs from the model's"):
        directory.load(40)
    save_file({"a": PARAMS["a"]}, directory.path(40))
    with pytest.raises(PolcaError, match="parameter 'b' differs"):
        directory.load(40)


@pytest.mark.reliability(
    "NaN and infinity in weights",
    "one line that names file and parameter",
)
def test_values_that_are_not_finite(directory) -> None:
    directory.save(40, PARAMS | {"b": torch.tensor([0, 1, float("nan"), 3.0])})
    with pytest.raises(PolcaError, match="parameter 'b' has NaN"):
        directory.load(40)


def test_nothing_there(tmp_path, directory) -> None:
    with pytest.raises(PolcaError, match="no step_"):
        CheckpointDirectory(tmp_path / "elsewhere").steps()
    with pytest.raises(PolcaError, match="no such checkpoint file"):
        directory.load(7)


def test_interval_that_does_not_divide() -> None:
    assert select_steps([0, 20, 40, 60, 80], 40) == [0, 40, 80]
    for interval in (30, 60, 0):
        with pytest.raises(PolcaError, match=rf"interval = {interval}"):
            select_steps([0, 20, 40, 60, 80], interval)
