"""How exact the vectors of a basis are, as the page says it."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from polca.errors import PolcaError
from polca.method.bases import Basis


def sentence(missed: int, vectors: int, tolerance: float) -> str:
    """How many of the eigenvectors missed the tolerance, the residual relative to the eigenvalue."""
    if not missed:
        return f"Lanczos found all {vectors} eigenvectors to a relative residual of {tolerance:g}."
    are = "vector is no eigenvector" if missed == 1 else "vectors are no eigenvectors"
    return f"{missed} of {vectors} {are} to a relative residual of {tolerance:g}: Lanczos stopped before."


def of_basis(path: Path, tolerance: float) -> str:
    """The sentence for a basis file; empty without the file, which not every run keeps, or without eigenvectors.

    It reads the head of the file alone, which at the published scale has gigabytes.

    Raises:
        PolcaError: the file is damaged.
    """
    if not path.is_file():
        return ""
    try:
        with safe_open(path, "np") as handle:
            facts = json.loads((handle.metadata() or {})["basis"])
        steps, matvecs = (np.array(facts[name], np.int64) for name in ("steps", "matvecs"))
        values, residuals = (np.array(facts[name], np.float64) for name in ("eigenvalues", "residuals"))
        # `Basis.missed` asks vectors for nothing but their type.
        basis = Basis(facts["kind"], {"": torch.zeros(0)}, steps, values, residuals, matvecs)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise PolcaError(f"{path}: not a basis: run the stage that writes it again") from error
    if np.isnan(basis.residuals).all():
        return ""
    return sentence(len(basis.missed(tolerance)), len(basis), tolerance)
