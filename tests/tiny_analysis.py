"""`polca analyze` on a model of word pairs, in a second: results with text, and whatever a token may look like."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch

from polca.external.analysis import Analysis
from polca.external.analyze import analyze, write_analysis
from polca.external.modules import ModuleCheckpoints, ModuleLoss
from polca.external.sequences import Sequences, next_token
from polca.external.settings import AnalysisSettings
from polca.method.checkpoints import CheckpointDirectory
from synthetic_explorer import HOSTILE

WORDS = (HOSTILE, "NA", '"', ",", "other", "true", "x" * 40, "ein", "é", "a b", "&lt;", "$x$", "1")
"""Each with what could go wrong: as HTML, as a missing value, in CSV, as the name of the rest, cut short."""
SEQUENCES, TARGETS, HESSIAN = 52, 7, 12
STEPS = range(0, 51, 10)


def decode(ids: list[int]) -> str:
    """Words with a space between, so that a word alone has none."""
    return " ".join(WORDS[i] for i in ids)


def windows() -> torch.Tensor:
    """Words of which each mostly says the next, some far more frequent than others."""
    generator = torch.Generator().manual_seed(4)
    words = torch.randint(0, len(WORDS), (SEQUENCES, 1), generator=generator)
    for _ in range(TARGETS):
        chance = torch.rand(SEQUENCES, 1, generator=generator)
        drawn = (len(WORDS) * torch.rand(SEQUENCES, 1, generator=generator) ** 3).long()
        words = torch.cat([words, torch.where(chance < 0.6, (words[:, -1:] * 3 + 1) % len(WORDS) // 2, drawn)], dim=1)
    return words


def evaluation() -> Sequences:
    """The evaluated sequences."""
    return next_token(windows(), decode).part(HESSIAN, SEQUENCES)


@cache
def analysis(**settings: Any) -> Analysis:
    """An analysis with further settings; made once for the same ones."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Embedding(len(WORDS), 6), torch.nn.Linear(6, len(WORDS)))
    data = next_token(windows(), decode)
    hessian, steps = data.part(0, HESSIAN).batches(HESSIAN), settings.pop("steps", None)
    loss = ModuleLoss(model)
    with TemporaryDirectory() as directory:
        files = CheckpointDirectory(Path(directory))
        params = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}
        optimizer = torch.optim.Adam(params.values(), 0.05)
        for step in range(STEPS[-1] + 1):
            if step in STEPS:
                files.save(step, {n: p.detach() for n, p in params.items()})
            optimizer.zero_grad()
            loss(params, data.batches(SEQUENCES)[0]).mean().backward()
            optimizer.step()
        chosen = {"vectors": 2, "min_cluster_size": 8, "min_samples_divisor": 100, "tolerance": 1e-2, **settings}
        checkpoints = ModuleCheckpoints(Path(directory), model)
        return analyze(loss, checkpoints, hessian, evaluation().batches(20), AnalysisSettings(**chosen), steps=steps)


def written(directory: Path, **settings: Any) -> Analysis:
    """Write an analysis as `polca analyze` does, but for its figures, which take most of the time."""
    found = analysis(**settings)
    with (
        patch("polca.report.figures.projected_losses.render", return_value={}),
        patch("polca.report.figures.projected_losses.render_vectors", return_value=[]),
    ):
        write_analysis(found, evaluation(), directory)
    return found
