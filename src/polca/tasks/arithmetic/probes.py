"""Are digits and carries in the trajectories of all vectors together? Probes and nearest neighbours, no clusters.

Not the paper's. Projected losses are seen through `signatures`; the exact loss and its change, which have one number
where those have one for each vector, are given every point of their trajectory.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.method.decomposition import Trajectories
from polca.method.probes import (
    NEIGHBOURS,
    PERMUTATIONS,
    chance_agreement,
    nearest_rows,
    neighbour_null,
    probe_auc,
    rounded_auc,
    same_label,
    variance_explained,
)
from polca.method.signatures import token_features
from polca.tasks.arithmetic.data import OUTPUT_DIGITS
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.arithmetic.scores import auc

Integers = NDArray[np.int64]

PROBED = ("polca", "polca_first_order", "polca_random", "polca_shuffled_hessian", "loss", "loss_change")
"""The analyses that are probed."""
PROBED_PLACES = PLACES[:3]
"""The 1s digit never has a carry."""
NULL_POINT = 0.95

PROBE_COLUMNS: Mapping[str, str] = {
    **{"analysis": "str", "place": "str", "auc": "float64", "best_single": "float64"},
    **{"tokens": "int64", "features": "int64"},
}
SIGNATURE_COLUMNS: Mapping[str, str] = {
    **{"analysis": "str", "label": "str", "tokens": "int64", "kinds": "int64", "features": "int64"},
    **dict.fromkeys(("agreement", "chance", "null_95", "within_null_95"), "float64"),
    **dict.fromkeys(("variance_mean", "variance_max"), "float64"),
}


def digit_values(tokens: NDArray[np.integer]) -> Integers:
    """The value of each output digit `[4 S]` of additions `[S, 12]`, in the order of the evaluated tokens."""
    return tokens[:, -OUTPUT_DIGITS:].reshape(-1).astype(np.int64)


def best_single_auc(trajectories: Trajectories, positive: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    """Largest `scores.auc` of a single vector's last values, over the tokens `among [X]`; NaN for the exact loss.

    The best of many, chosen on the tokens that it is judged by, and either way round: above 0.5 by chance alone.
    """
    if not trajectories.projected:
        return float("nan")
    return max(auc(last[among], positive[among]) for last in trajectories.values[:, :, -1])


def _check(analysis: str, trajectories: Trajectories, **labels: NDArray[Any]) -> None:
    for name, given in labels.items():
        if given.shape != trajectories.values.shape[1:2]:
            raise PolcaError(
                f"{analysis}: {name} {given.shape}: give one for each of the {trajectories.values.shape[1]} tokens"
            )


def carry_probes(
    analysis: str, trajectories: Trajectories, place: NDArray[np.integer], carry: NDArray[np.bool_]
) -> pd.DataFrame:
    """A linear probe for carry among the tokens of each place but the 1s, with the columns of `PROBE_COLUMNS`.

    Returns:
        One row a place: auc as in `probes.probe_auc`; best_single as in `best_single_auc`; tokens of the place;
        features, how many numbers a token the probe is given, without which analyses cannot be compared.

    Raises:
        PolcaError: labels that do not fit.
    """
    _check(analysis, trajectories, place=place, carry=carry)
    features, flags = token_features(trajectories), carry.astype(bool)
    rows = []
    for name in PROBED_PLACES:
        here = place == PLACES.index(name)
        rows.append(
            {
                "analysis": analysis,
                "place": name,
                "auc": rounded_auc(probe_auc(features[here], flags[here])),
                "best_single": best_single_auc(trajectories, flags, here),
                "tokens": int(here.sum()),
                "features": features.shape[1],
            }
        )
    return pd.DataFrame(rows, columns=list(PROBE_COLUMNS)).astype(dict(PROBE_COLUMNS))


def signature_scores(
    analysis: str,
    trajectories: Trajectories,
    tokens: NDArray[np.integer],
    place: NDArray[np.integer],
    carry: NDArray[np.bool_],
    *,
    neighbours: int = NEIGHBOURS,
    permutations: int = PERMUTATIONS,
) -> pd.DataFrame:
    """How far tokens that all vectors together treat alike have digit, place and carry in common.

    Args:
        tokens: `[S, 12]` additions.
        place, carry: `[4 S]`.

    Returns:
        One row for each of `digit` (its value), `place`, `place_carry` and `digit_place_carry`, with the columns of
        `SIGNATURE_COLUMNS`:

        - tokens, kinds: how many, and of how many different labels. `digit` is asked of the 100s, 10s and 1s, since the
          1000s digit is 0 or 1 and is the carry; the others of all tokens;
        - features: how many numbers a token neighbours are sought by;
        - agreement: share of the nearest neighbours among these tokens with the same label; NaN for too few tokens;
        - chance, null_95: the same for any two tokens, and the 95 % point of labels permuted among all tokens;
        - within_null_95: that of labels permuted among tokens of one place, for `digit_place_carry` of one place and
          digit: what agrees beyond it is the carry. NaN for the two labels without carry;
        - variance_mean, variance_max: η² of the label in the last value along a vector, mean and largest over vectors
          with any variance.

    Raises:
        PolcaError: labels that do not fit.
    """
    digit, carried, where = digit_values(tokens), carry.astype(np.int64), place.astype(np.int64)
    _check(analysis, trajectories, tokens=digit, place=place, carry=carry)
    by_place = 10 * where + digit
    skills = {
        "place": (where, None),
        "place_carry": (2 * where + carried, where),
        "digit_place_carry": (2 * by_place + carried, by_place),
    }
    parts: tuple[tuple[NDArray[np.bool_], Mapping[str, tuple[Integers, Integers | None]]], ...] = (
        (where != PLACES.index("1000s"), {"digit": (digit, None)}),
        (np.ones(len(where), np.bool_), skills),
    )
    features, last = token_features(trajectories), trajectories.values[:, :, -1]
    rows = []
    for among, asked in parts:
        enough = int(among.sum()) > neighbours
        nearest = nearest_rows(features[among], neighbours) if enough else None
        for name, (skill, beyond) in asked.items():
            row: dict[str, Any] = {"analysis": analysis, "label": name, "features": features.shape[1]}
            row |= _explained(last[:, among], skill[among])
            if nearest is not None:
                row["agreement"] = same_label(nearest, skill[among])
                row["null_95"] = _null_point(neighbour_null(nearest, skill[among], permutations))
                if beyond is not None:
                    null = neighbour_null(nearest, skill[among], permutations, beyond[among])
                    row["within_null_95"] = _null_point(null)
            rows.append(row)
    return pd.DataFrame(rows, columns=list(SIGNATURE_COLUMNS)).astype(dict(SIGNATURE_COLUMNS))


def _explained(last: NDArray[np.float32], labels: Integers) -> dict[str, Any]:
    """What is known of labels `[n]` and of the last values `[K, n]` without neighbours."""
    shares = np.array([variance_explained(values, labels) for values in last])
    shares = shares[np.isfinite(shares)]
    return {
        "tokens": len(labels),
        "kinds": len(np.unique(labels)),
        "chance": chance_agreement(labels),
        "variance_mean": float(shares.mean()) if len(shares) else float("nan"),
        "variance_max": float(shares.max()) if len(shares) else float("nan"),
    }


def _null_point(null: NDArray[np.float64]) -> float:
    return float(np.quantile(null, NULL_POINT, method="higher"))


def probe_tables(
    analysis: str, trajectories: Trajectories, labels: Mapping[str, NDArray[Any]]
) -> dict[str, pd.DataFrame]:
    """`probes` and `signatures` of one analysis; `labels` has `tokens`, `place` and `carry`.

    Raises:
        PolcaError: labels that do not fit.
    """
    tokens, place, carry = labels["tokens"], labels["place"], labels["carry"].astype(bool)
    return {
        "probes": carry_probes(analysis, trajectories, place, carry),
        "signatures": signature_scores(analysis, trajectories, tokens, place, carry),
    }
