"""The one run at the published scale, and what it says of the claims about addition, for README."""

from pathlib import Path
from typing import Any

import pandas as pd

from polca.machine.files import read_csv
from polca.report.claims import Claim
from polca.report.verdicts import Run, judge, probe_areas
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.arithmetic.scores import ANALYSES
from polca.typing import Reading


def published_scale(root: Path, reading: Reading = "standardised") -> Run:
    """The run, from `paper/published_scale` of a checkout.

    Raises:
        PolcaError: a file is missing or damaged.
    """
    folder = root / "paper" / "published_scale"
    best, probes = read_csv(folder / "best.csv"), read_csv(folder / "probes.csv")
    own = best[best["reading"] == reading].set_index("analysis")
    rows: dict[str, Any] = {str(name): row for name, row in own.to_dict("index").items()}
    return Run(
        best={n: (r["homogeneity_1"], r["recall_1"]) for n, r in rows.items() if pd.notna(r["homogeneity_1"])},
        clusters={n: r["clusters"] for n, r in rows.items()},
        hidden={n: r["hidden"] for n, r in rows.items()},
        auc={(n, place): r[f"auc_{place}"] for n, r in rows.items() for place in PLACES[:3]},
        probes=probe_areas(probes),
        absent=frozenset(ANALYSES) - set(rows),
    )


def judged(claim: Claim, run: Run) -> tuple[str, str]:
    """Verdict and reason by the one run, which can refute a claim but not establish it."""
    return judge(claim.decide(run), [], None, seeded=False)
