"""Two processes under torchrun against one: training, basis, projections; and shares of a batch."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from polca.errors import PolcaError
from polca.machine import distributed
from polca.machine.files import read_npz, read_tensors
from polca.machine.pinned import ENVIRONMENT
from polca.machine.runtime import device, on_device, use_device

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
ENV = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "200"}
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")

SCRIPT = """
import sys
from pathlib import Path

from polca.machine import distributed
from polca.method.bases import hessian_basis
from polca.method.checkpoints import CheckpointDirectory
from polca.tasks.transformer import TokenLoss, initialize
from polca.method.projections import project
from polca.machine.runtime import configure_torch
from polca.tasks.arithmetic.data import batch, make_data, model_config
from polca.tasks.settings import TrainingSettings
from polca.tasks.training import train

out = Path(sys.argv[1])
config = model_config(layers=1, width=16, heads=2, mlp_width=32)
data = make_data(12 * 7, 10, 0)  # 7 is odd, so that the shares of a batch differ in size
settings = TrainingSettings(
    steps=12, batch_size=7, learning_rate=1e-3, checkpoint_interval=3, warmup_steps=4, resume_interval=5
)
configure_torch()
with distributed.group():
    loss, checkpoints = TokenLoss(config), CheckpointDirectory(out / "c")
    log = train(
        loss, initialize(config, 0), lambda i: batch(data.training[7 * i : 7 * i + 7]), settings, checkpoints, out / "r"
    )
    distributed.barrier()
    basis = hessian_basis(loss, checkpoints, [batch(data.training[:9])], steps=[6, 12], tolerance=1e-5)
    evaluation = [batch(data.evaluation[:6]), batch(data.evaluation[6:])]
    found = project(loss, checkpoints, basis, evaluation, curvature=True, resume=out / "p")
    (out / f"rank_{distributed.rank()}").mkdir()
    basis.save(out / f"rank_{distributed.rank()}" / "basis.safetensors")
    found.save(out / f"rank_{distributed.rank()}" / "projections.npz")
"""


def test_two_processes_give_what_one_gives(tmp_path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    for name, start in (("one", (sys.executable,)), ("two", TORCHRUN)):
        (tmp_path / name).mkdir()
        done = subprocess.run([*start, script, tmp_path / name], env=ENV, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    one, two = tmp_path / "one", tmp_path / "two"
    assert sorted(p.name for p in two.iterdir() if p.name.startswith("rank")) == ["rank_0", "rank_1"]
    for name in ("basis.safetensors", "projections.npz"):
        assert (two / "rank_0" / name).read_bytes() == (two / "rank_1" / name).read_bytes(), "processes drifted apart"
    right, got = (read_tensors(folder / "c" / "step_000012.safetensors") for folder in (one, two))
    for name, p in right.items():
        # Softmax does not see a constant added to all keys: this gradient is 0, and Adam scales its rounding up.
        if not name.endswith("attention.key.bias"):
            torch.testing.assert_close(
                got[name], p, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
            )
    a, b = (read_tensors(folder / "rank_0" / "basis.safetensors") for folder in (one, two))
    rows = [torch.cat([v.reshape(2, -1) for v in basis.values()], dim=1) for basis in (a, b)]
    cosines = (rows[0] * rows[1]).sum(1)
    np.testing.assert_allclose(cosines.abs(), 1, atol=1e-5)
    signs = torch.sign(cosines).numpy()
    p, q = (read_npz(folder / "rank_0" / "projections.npz") for folder in (one, two))
    assert set(p) == set(q)
    for name in p:
        values = q[name] * signs if name in ("gradients", "movements") else q[name]
        scale = np.abs(p[name]).max()
        np.testing.assert_allclose(values, p[name], rtol=0, atol=1e-5 * scale, err_msg=name)
    np.testing.assert_allclose(q["losses"], p["losses"], rtol=1e-5)


def test_an_error_of_all_is_said_once(tmp_path) -> None:
    missing = tmp_path / "presets" / "none" / "params.yaml"
    command = [*TORCHRUN, str(ROOT / "pipelines" / "train.py"), "--params", str(missing), "--task", "arithmetic"]
    done = subprocess.run(command, env=ENV, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.count("error: ") == 1, done.stderr
    assert "no such parameter file" in done.stderr


@pytest.mark.parametrize("world", [2, 3, 8])
def test_shares_are_a_partition(monkeypatch, world) -> None:
    batches = [(torch.arange(5)[:, None], torch.arange(5)), (torch.arange(5, 8)[:, None], torch.arange(5, 8))]
    monkeypatch.setattr(distributed, "_world", world)
    seen, sizes = [], []
    for number in range(world):
        monkeypatch.setattr(distributed, "_rank", number)
        share = distributed.shard(batches)
        assert all(torch.equal(left[:, 0], right) for left, right in share)
        seen.extend(int(i) for _, right in share for i in right)
        sizes.append(sum(len(right) for _, right in share))
    assert seen == list(range(8))
    assert max(sizes) - min(sizes) <= 1


def test_what_cannot_be_shared_out(monkeypatch) -> None:
    monkeypatch.setattr(distributed, "_world", 3)
    with pytest.raises(PolcaError, match="2 sequences cannot be shared out over 3 processes"):
        distributed.shard([torch.zeros(2)])
    with pytest.raises(PolcaError, match="one first dimension"):
        distributed.shard([(torch.zeros(4), torch.zeros(5))])


def test_one_process_changes_nothing() -> None:
    x = torch.ones(3)
    assert distributed.sum_over_ranks([x])[0] is x
    assert distributed.from_first(x) is x
    assert distributed.gather(x)[0] is x
    assert distributed.shard([x])[0] is x


class TestDevice:
    def test_unknown(self) -> None:
        with pytest.raises(PolcaError, match="device = 'tpu': expected cpu or cuda"):
            use_device("tpu")

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_absent(self) -> None:
        with pytest.raises(PolcaError, match="device = cuda: PyTorch finds no GPU"):
            use_device("cuda")
        assert device().type == "cpu"

    def test_the_mover_leaves_the_cpu_alone_and_reaches_every_tensor(self, monkeypatch) -> None:
        tree = ({"a": torch.ones(2)}, [torch.ones(1), 3])
        assert on_device(tree) is tree
        monkeypatch.setattr("polca.machine.runtime._device", "meta")
        moved = on_device(tree)
        assert moved[0]["a"].device.type == moved[1][0].device.type == "meta"
        assert moved[1][1] == 3
