"""The run at the published scale as it was first made, before this package kept archives: a reader of its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.machine.files import read_json, read_npz
from polca.method.decomposition import Trajectories
from polca.study.archive import Archive, Factors

ANALYSES = {
    "polca_first_order": ("hessian_first_order", "polca_first_order"),
    "polca": ("hessian_trapezoid", "polca"),
    "polca_random": ("random_trapezoid", "polca"),
}
"""File and strategy of each analysis of a run at the published scale."""

_FACTORS = {
    "scores": "finite K X R",
    "curves": "finite K P R",
    "mean": "finite K P",
    "relative_error": "finite K",
}
_TOKENS = {
    "tokens": "int N L",
    "place": "int X",
    "carry": "bool X",
    "losses": "finite P X",
    "movements": "finite P-1 M",
    "steps": "int P",
    "training_loss": "finite U",
}


@dataclass(frozen=True)
class PublishedScale:
    """A run of the arithmetic setting at the published scale, in the form in which it was first made.

    Attributes:
        archives: by name of the analysis: `polca_first_order`, `polca` (trapezoid) and `polca_random` (trapezoid).
        tokens: `[N, L]` evaluation sequences.
        place, carry: `[X]` skills of the evaluation tokens, X = N · targets.
        losses: `[P, X]` exact losses in nats, to float16's digits.
        steps: `[P]` training steps of losses and trajectories.
        training_loss: `[U]` mean loss of each update's batch.
    """

    archives: Mapping[str, Archive]
    tokens: NDArray[np.integer]
    place: NDArray[np.integer]
    carry: NDArray[np.bool_]
    losses: NDArray[np.float32]
    steps: NDArray[np.int64]
    training_loss: NDArray[np.float32]

    @property
    def trajectories(self) -> dict[str, Trajectories]:
        """All analyses' trajectories, by name: K · X · P numbers each."""
        return {name: archive.trajectories() for name, archive in self.archives.items()}


def read_published_scale(directory: Path) -> PublishedScale:
    """Read a folder of `hessian_first_order.npz`, `hessian_trapezoid.npz`, `random_trapezoid.npz`,
    `tokens_and_losses.npz` and `facts.json`.

    In it a vector's trajectories are `scores[k] @ curves[k].T + mean[k]` less their first column, all of one rank, and
    `relative_error` is the Frobenius norm of what is left out over that of the trajectories less their mean over
    tokens.

    Raises:
        PolcaError: a file is missing, damaged, of another form, or does not fit the others.
    """
    source = directory / "facts.json"
    try:
        vector_steps = np.array([vector["step"] for vector in read_json(source)["hessian"]], np.int64)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, PolcaError):
            raise
        raise PolcaError(f"{source}: has no steps of Hessian vectors: copy the run's folder again") from error
    found = read_npz(directory / "tokens_and_losses.npz", _TOKENS)
    del found["movements"]
    archives = {}
    for analysis, (file, strategy) in ANALYSES.items():
        path = directory / f"{file}.npz"
        parts = read_npz(path, _FACTORS)
        vectors, tokens, rank = parts["scores"].shape
        if (vectors, tokens, parts["mean"].shape[1]) != (len(vector_steps), len(found["place"]), len(found["steps"])):
            raise PolcaError(
                f"{path}: scores {parts['scores'].shape} do not fit the folder's {len(vector_steps)} vectors, "
                f"{len(found['place'])} tokens and {len(found['steps'])} steps: copy the run's folder again"
            )
        try:
            factors = Factors(
                ranks=np.full(vectors, rank),
                exponents=np.zeros((vectors, tokens), np.int16),
                scores=parts["scores"].swapaxes(1, 2).reshape(vectors * rank, -1).astype(np.float32),
                curves=parts["curves"].swapaxes(1, 2).reshape(vectors * rank, -1),
                mean=parts["mean"],
            )
        except PolcaError as error:
            raise PolcaError(f"{path}: {error}") from error
        archives[analysis] = Archive(
            name=strategy,
            projected=True,
            steps=found["steps"],
            vector_steps=np.full(vectors, -1) if file.startswith("random") else vector_steps,
            guarded=0,
            relative_error=parts["relative_error"].astype(np.float64),
            values=factors,
        )
    return PublishedScale(archives=archives, **(found | {"losses": found["losses"].astype(np.float32)}))
