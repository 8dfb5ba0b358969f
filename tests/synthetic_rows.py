"""Made-up trajectories as rows of numbers."""

import numpy as np


def walks(rows: int, points: int = 40, seed: int = 0, groups: int = 4) -> np.ndarray:
    """Falling random walks in overlapping groups, as trajectories are: continuous, correlated, far from neat."""
    rng = np.random.default_rng(seed)
    drift = rng.normal(size=(groups, points)) - 0.3
    values = np.cumsum(0.4 * drift[rng.integers(groups, size=rows)] + 0.1 * rng.normal(size=(rows, points)), axis=1)
    values[:, 0] = 0
    return values.astype(np.float32)


def blobs(sizes: list[int], points: int = 6, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Well-separated groups of falling trajectories, in random row order, and the group of each row."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    values = rng.normal(size=(len(groups), points)) * 0.05 - 3 * (1 + groups[:, None]) * np.linspace(0, 1, points)
    values[:, 0] = 0
    return values.astype(np.float32), groups
