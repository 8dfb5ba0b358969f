"""Made-up results of what all vectors together tell apart."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.machine.files import write_csv, write_npz
from polca.study.paths import TaskPaths
from polca.study.stages.signatures import CONTROLLED, MOMENTS

CONTROLS = [f"gradients_{moment}_{basis}" for basis in CONTROLLED for moment in MOMENTS]


def write_signatures(
    paths: TaskPaths, analyses: Sequence[str], labels: Mapping[str, NDArray[Any]], among: NDArray[np.bool_]
) -> None:
    """Scores that differ everywhere, and maps on which islands are the kinds of the first label.

    Args:
        labels: `[X]` by name; the tokens `among [X]` of the first one are mapped.
    """
    rng = np.random.default_rng(3)
    values = next(iter(labels.values()))
    kinds, inverse = np.unique(values[among], return_inverse=True)
    scores, joint = [], []
    for name in [*analyses, *CONTROLS]:
        for label, known in labels.items():
            about = {"analysis": name, "label": label, "tokens": int(among.sum())}
            numbers = ("agreement", "chance", "null_95", "within_null_95", "variance_mean", "variance_max")
            drawn = dict(zip(numbers, rng.random(len(numbers)).round(6).tolist(), strict=True))
            scores.append({**about, "kinds": len(np.unique(known)), "features": 15, **drawn})
            if name in analyses:
                found = {
                    "clusters": len(kinds),
                    "outliers": round(rng.random(), 6),
                    "ari": round(rng.random(), 6),
                }
                joint.append({**about, **found})
        if name in analyses:
            angle = 2 * np.pi * inverse / len(kinds)
            places = 20 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + rng.normal(size=(len(inverse), 2))
            arrays = {"coordinates": places.astype(np.float32), "clusters": inverse}
            write_npz(paths.signatures / "maps" / f"{name}.npz", arrays)
    write_csv(paths.signatures / "signatures.csv", pd.DataFrame(scores))
    write_csv(paths.signatures / "joint.csv", pd.DataFrame(joint))
    write_npz(paths.signatures / "mapped.npz", {"tokens": np.flatnonzero(among), "values": values[among]})
