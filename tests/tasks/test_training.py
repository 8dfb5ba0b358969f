"""Training: the optimiser against a plain loop, resuming to the same bits, and bad input."""

import errno

import numpy as np
import pytest
import torch

from polca.errors import PolcaError
from polca.machine import files as artifacts
from polca.method.checkpoints import CheckpointDirectory
from polca.tasks.arithmetic.data import batch, make_data, model_config
from polca.tasks.settings import TrainingSettings, parse
from polca.tasks.training import train
from polca.tasks.transformer import TokenLoss, initialize

CONFIG = model_config(layers=2, width=16, heads=2, mlp_width=32)
SETTINGS = TrainingSettings(
    steps=12, batch_size=8, learning_rate=1e-2, checkpoint_interval=3, warmup_steps=4, resume_interval=5
)
DATA = make_data(12 * 8, 4, 0).training


def batches(step: int):
    return batch(DATA[8 * step : 8 * step + 8])


def start(directory, batches=batches, settings=SETTINGS):
    return train(
        TokenLoss(CONFIG),
        initialize(CONFIG, 0),
        batches,
        settings,
        CheckpointDirectory(directory / "c"),
        directory / "r",
    )


def contents(directory) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((directory / "c").iterdir())}


def test_against_the_update_rule_written_out(tmp_path) -> None:
    """Decoupled weight decay and bias-corrected moments, as in the paper of AdamW, in float64."""
    initial = {n: p.double() for n, p in initialize(CONFIG, 0).items()}
    checkpoints = CheckpointDirectory(tmp_path / "c")
    log = train(TokenLoss(CONFIG), initial, batches, SETTINGS, checkpoints, tmp_path / "r")
    theta = {n: p.clone().requires_grad_() for n, p in initial.items()}
    m = {n: torch.zeros_like(p) for n, p in theta.items()}
    v = {n: torch.zeros_like(p) for n, p in theta.items()}
    loss_of = TokenLoss(CONFIG)
    for step in range(12):
        loss = loss_of(theta, batches(step)).mean()
        assert log["loss"][step] == pytest.approx(loss.item(), rel=1e-9)
        rate = 1e-2 * min((step + 1) / 4, 1)
        assert log["learning_rate"][step] == pytest.approx(rate)
        with torch.no_grad():
            for (n, p), g in zip(theta.items(), torch.autograd.grad(loss, list(theta.values())), strict=True):
                m[n] = 0.9 * m[n] + 0.1 * g
                v[n] = 0.95 * v[n] + 0.05 * g * g
                update = m[n] / (1 - 0.9 ** (step + 1)) / ((v[n] / (1 - 0.95 ** (step + 1))).sqrt() + 1e-8)
                p.mul_(1 - rate * 0.1).sub_(update, alpha=rate)
    final = checkpoints.load(12)
    for n, p in theta.items():
        torch.testing.assert_close(final[n], p.detach(), rtol=1e-8, atol=1e-9)


def test_checkpoints_and_the_first_of_them(tmp_path) -> None:
    start(tmp_path)
    checkpoints = CheckpointDirectory(tmp_path / "c")
    assert checkpoints.steps() == [0, 3, 6, 9, 12]
    assert all(torch.equal(p, checkpoints.load(0)[n]) for n, p in initialize(CONFIG, 0).items())


@pytest.mark.parametrize("killed_at", [0, 4, 5, 7, 11])
def test_resumes_to_the_same_bits(tmp_path, killed_at) -> None:
    whole = start(tmp_path / "whole")

    def dying(step: int):
        if step == killed_at:
            raise KeyboardInterrupt
        return batches(step)

    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "cut", dying)
    seen: list[int] = []

    def watching(step: int):
        seen.append(step)
        return batches(step)

    log = start(tmp_path / "cut", watching)
    assert seen[0] == killed_at // 5 * 5
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    assert log.equals(whole)


def test_damaged_resume_state_starts_again(tmp_path) -> None:
    start(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "cut", lambda step: batches(step) if step < 8 else (_ for _ in ()).throw(KeyboardInterrupt))
    state = tmp_path / "cut" / "r" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:100])
    start(tmp_path / "cut")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_nan_loss_is_named(tmp_path) -> None:
    with pytest.raises(PolcaError, match=r"loss is (nan|inf) at step \d+: lower training.learning_rate"):
        start(tmp_path, settings=TrainingSettings(steps=12, batch_size=8, learning_rate=1e30, checkpoint_interval=3))


def test_disk_full_leaves_nothing_half_written(tmp_path, monkeypatch) -> None:
    def full(tensors, filename, metadata=None):
        filename.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(artifacts, "save_file", full)
    with pytest.raises(PolcaError, match="the disk is full: free some space"):
        start(tmp_path)
    assert list((tmp_path / "c").iterdir()) == []


def test_settings_are_checked() -> None:
    values = {"steps": 12, "batch_size": 8, "learning_rate": 1e-3, "checkpoint_interval": 3}
    assert parse(TrainingSettings, values, "training") == TrainingSettings(**values)
    for name, value, message in (
        ("checkpoint_interval", 5, r"training\.checkpoint_interval = 5: does not divide steps = 12"),
        ("learning_rate", 0.0, r"training\.learning_rate = 0\.0"),
        ("resume_interval", 0, r"training\.resume_interval = 0"),
    ):
        with pytest.raises(PolcaError, match=message):
            parse(TrainingSettings, values | {name: value}, "training")


def test_published_warm_up() -> None:
    """1e-5 · min(i/100, 1) (Table 2)."""
    settings = TrainingSettings(steps=10_000, batch_size=64, learning_rate=1e-5, checkpoint_interval=20)
    np.testing.assert_allclose([settings.rate(i) for i in (0, 49, 99, 5000)], [1e-7, 5e-6, 1e-5, 1e-5])
