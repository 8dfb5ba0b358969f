"""What the page says of how exact the vectors are."""

from pathlib import Path

import numpy as np
import pytest
import torch

from polca.errors import PolcaError
from polca.explorer.convergence import of_basis
from polca.method.bases import Basis


def written(path: Path, residuals: list[float], kind: str = "hessian") -> Path:
    """A basis of eigenvalues 100, 10, 1."""
    Basis(
        kind=kind,
        vectors={"weight": torch.eye(3)},
        steps=np.array([5, 10, 15]),
        eigenvalues=np.array([100.0, 10.0, 1.0]),
        residuals=np.array(residuals),
        matvecs=np.array([7, 7, 7]),
    ).save(path)
    return path


def test_counts_vectors_above_the_tolerance(tmp_path: Path) -> None:
    """Relative to each eigenvalue."""
    path = written(tmp_path / "basis.safetensors", [0.09, 0.009, 0.02])
    assert of_basis(path, 0.03).startswith("Lanczos found all 3 eigenvectors to a relative residual of 0.03")
    assert of_basis(path, 0.001).startswith("1 of 3 vector is no eigenvector to a relative residual of 0.001")
    assert of_basis(path, 0.0008).startswith("3 of 3 vectors are no eigenvectors")


def test_nothing_is_said_where_nothing_is_known(tmp_path: Path) -> None:
    assert of_basis(tmp_path / "none.safetensors", 0.001) == ""
    assert of_basis(written(tmp_path / "random.safetensors", [float("nan")] * 3, "random"), 0.001) == ""


def test_damaged(tmp_path: Path) -> None:
    path = written(tmp_path / "basis.safetensors", [0.1, 0.1, 0.1])
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(PolcaError, match=r"basis\.safetensors: not a basis: run the stage"):
        of_basis(path, 0.001)
