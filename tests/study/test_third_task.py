"""A task of one's own: modular addition goes through all stages, to a figure, with no change elsewhere."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from polca.report.figures.projected_losses import render
from polca.study.in_memory import run
from polca.tasks.settings import TaskSettings, parse
from polca.tasks.task import Analysis, Labels, TransformerTask
from polca.tasks.transformer import ModelConfig

MODULUS = 11


class ModularAddition(TransformerTask):
    """`a b =` → (a + b) mod 11; all 121 pairs are evaluated."""

    name = "modular"
    analyses: ClassVar = {"polca": Analysis("hessian", "polca")}

    def model(self, evaluated: bool = False) -> ModelConfig:
        sizes = self.settings.model
        return ModelConfig(MODULUS + 1, MODULUS, 3, sizes.layers, sizes.width, sizes.heads, sizes.mlp_width, targets=1)

    def examples(self, pairs: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        a, b = map(torch.from_numpy, np.divmod(pairs, MODULUS))
        return torch.stack([a, b, torch.full_like(a, MODULUS)], dim=1), ((a + b) % MODULUS)[:, None]

    def batch(self, update: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng([self.settings.seed, update])
        return self.examples(rng.integers(0, MODULUS**2, self.settings.training.batch_size))

    def evaluation_batches(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [self.examples(np.arange(MODULUS**2))]

    def token_labels(self) -> Labels:
        return {"name": self.evaluation_batches()[0][1].ravel().numpy().astype(str)}


SETTINGS = {
    "seed": 0,
    "model": {"layers": 1, "width": 32, "heads": 2, "mlp_width": 64},
    "training": {"steps": 200, "batch_size": 32, "learning_rate": 3e-3, "checkpoint_interval": 20},
    "basis": {"vectors": 2, "per_step": 1, "hessian_examples": 64, "tolerance": 1e-3, "which": "algebraic"},
    "polca": {"interval": 20, "second_order": "trapezoid", "eigenvalue": "basis", "batch_sequences": 121},
    "clustering": {"min_cluster_size": 5, "min_samples_divisor": 15},
    "stability": {"repeats": 2, "analyses": ["polca"]},
    "breakthroughs": {"fall": 0.9, "delta": 20},
    "plots": {"last_step": 200},
}


def test_modular_addition_goes_through(tmp_path: Path) -> None:
    study = run(ModularAddition(parse(TaskSettings, SETTINGS, "modular"), tmp_path))
    summary, tables = study.results()
    assert summary["loss_last"] < 0.5 * summary["loss_first"]
    assert (summary["tokens"], len(tables["vectors"])) == (MODULUS**2, 2)
    assert len(tables["clusters"]) == tables["vectors"]["n_clusters"].sum() > 0
    # It names no constants of the paper, and asks for the stability of its one analysis.
    assert summary["published_flat_step_fall"] is None
    assert tables["clusters"]["hidden_published"].isna().all()
    stable = tables["vectors"].set_index("n_clusters")[["ari_bootstrap", "ari_perturbed"]]
    assert (stable.isna().all(axis=1) == (stable.index == 0)).all()
    assert stable.max(axis=None) <= 1
    assert render(study.clusters("polca").clusters, tables["clusters"])["png"].startswith(b"\x89PNG")
