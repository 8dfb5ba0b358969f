"""Are digits and carries in the trajectories of all vectors together? Labels, probes, and when carries show.

Not the paper's. Probes are given what `token_features` gives.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from polca.errors import PolcaError
from polca.method.decomposition import Trajectories
from polca.method.probes import probe_auc, rounded_auc
from polca.method.signatures import token_features
from polca.tasks.arithmetic.data import OUTPUT_DIGITS
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.arithmetic.scores import auc, roc_areas
from polca.tasks.task import Skill

Integers = NDArray[np.int64]

PROBED_PLACES = PLACES[:3]
"""The 1s digit never has a carry."""
VISIBLE = 0.5
"""Share of the way from 0.5 to its last AUC at which a carry counts as visible along a vector."""

PROBE_COLUMNS: Mapping[str, str] = {
    **{"analysis": "str", "place": "str", "auc": "float64", "best_single": "float64", "best_within_digit": "float64"},
    **{"tokens": "int64", "features": "int64"},
}
EMERGENCE_COLUMNS: Mapping[str, str] = {
    **{"analysis": "str", "place": "str", "vector": "int64"},
    **dict.fromkeys(("auc_first", "auc_last", "visible_step", "loss_half_step", "loss_auc_last"), "float64"),
}


def digit_values(tokens: NDArray[np.integer]) -> Integers:
    """The value of each output digit `[4 S]` of additions `[S, 12]`, in the order of the evaluated tokens."""
    return tokens[:, -OUTPUT_DIGITS:].reshape(-1).astype(np.int64)


def skills(labels: Mapping[str, NDArray[Any]]) -> Mapping[str, Skill]:
    """What is asked of the output tokens.

    `digit` is the value to be written, asked of the 100s, 10s and 1s, since the 1000s digit is 0 or 1 and is the carry.
    Of all tokens: `place`; `place_carry`, within a place; `digit_place_carry`, within a place and digit, beyond which
    the carry alone is left.

    Args:
        labels: `tokens [S, 12]`, `place [4 S]` and `carry [4 S]`.
    """
    digit, carry, place = digit_values(labels["tokens"]), labels["carry"].astype(np.int64), labels["place"].astype(int)
    by_place, every = 10 * place + digit, np.ones(len(place), np.bool_)
    return {
        "digit": Skill(digit, place != PLACES.index("1000s")),
        "place": Skill(place, every),
        "place_carry": Skill(2 * place + carry, every, place),
        "digit_place_carry": Skill(2 * by_place + carry, every, by_place),
    }


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


def within_class_auc(values: NDArray[np.floating], positive: NDArray[np.bool_], classes: NDArray[np.integer]) -> float:
    """AUC of `values [n]` for `positive [n]` over pairs of one class `[n]` only, either way round; NaN without a pair.

    Every such pair counts once, and the way round is the same for all classes: chance alone gives little above 0.5.
    """
    won = pairs = 0.0
    for kind in np.unique(classes):
        here = classes == kind
        one, two = int(positive[here].sum()), int((~positive[here]).sum())
        # Mann–Whitney's U: pairs in which the positive one is larger.
        won += float(rankdata(values[here])[positive[here]].sum()) - one * (one + 1) / 2
        pairs += one * two
    return max(won / pairs, 1 - won / pairs) if pairs else float("nan")


def carry_probes(
    analysis: str,
    trajectories: Trajectories,
    place: NDArray[np.integer],
    carry: NDArray[np.bool_],
    digit: NDArray[np.integer],
) -> pd.DataFrame:
    """A linear probe for carry among the tokens of each place but the 1s, with the columns of `PROBE_COLUMNS`.

    Returns:
        One row a place: auc as in `probes.probe_auc`; best_single as in `best_single_auc`; best_within_digit, largest
        `within_class_auc` of a single vector's last values among tokens of one digit; tokens of the place; features,
        how many numbers a token the probe is given, without which analyses cannot be compared.

    Raises:
        PolcaError: labels that do not fit.
    """
    _check(analysis, trajectories, place=place, carry=carry, digit=digit)
    features, flags = token_features(trajectories), carry.astype(bool)
    rows = []
    for name in PROBED_PLACES:
        here = place == PLACES.index(name)
        last = trajectories.values[:, here, -1] if trajectories.projected else np.zeros((0, int(here.sum())))
        rows.append(
            {
                "analysis": analysis,
                "place": name,
                "auc": rounded_auc(probe_auc(features[here], flags[here])),
                "best_single": best_single_auc(trajectories, flags, here),
                "best_within_digit": max(
                    (within_class_auc(values, flags[here], digit[here]) for values in last), default=float("nan")
                ),
                "tokens": int(here.sum()),
                "features": features.shape[1],
            }
        )
    return pd.DataFrame(rows, columns=list(PROBE_COLUMNS)).astype(dict(PROBE_COLUMNS))


def _first_lasting(steps: NDArray[np.integer], reached: NDArray[np.bool_]) -> float:
    """The first of `steps [P]` from which on `reached [P]` holds; NaN where it does not hold at the end."""
    missed = np.flatnonzero(~reached)
    first = int(missed[-1]) + 1 if len(missed) else 0
    return float(steps[first]) if first < len(steps) else float("nan")


def carry_emergence(
    analysis: str,
    trajectories: Trajectories,
    loss: Trajectories,
    place: NDArray[np.integer],
    carry: NDArray[np.bool_],
) -> pd.DataFrame:
    """When carries into a place show along each vector, against when their exact loss falls.

    Args:
        trajectories: projected losses `[K, X, P]`, more than one point; of others there is nothing to say.
        loss: the exact losses `[1, X, C]`.

    Returns:
        One row a place but the 1s, and vector (from 1), with the columns of `EMERGENCE_COLUMNS`: auc_first and
        auc_last, of `scores.auc` after the first interval and at the end; visible_step, from which on the AUC is
        `VISIBLE` of the way from 0.5 to auc_last; loss_half_step, from which on the mean exact loss of the place's
        tokens with a carry has made half its fall; loss_auc_last, the AUC of the exact loss at the end.

    Raises:
        PolcaError: labels that do not fit.
    """
    _check(analysis, trajectories, place=place, carry=carry)
    rows: list[dict[str, Any]] = []
    for name in PROBED_PLACES if trajectories.projected and len(trajectories.steps) > 1 else ():
        here = place == PLACES.index(name)
        flags = carry[here].astype(bool)
        if flags.all() or not flags.any():
            continue
        exact = loss.values[0][here].astype(np.float64)
        mean = exact[flags].mean(axis=0)
        halved = _first_lasting(loss.steps, mean <= (mean[0] + mean[-1]) / 2)
        for k, values in enumerate(trajectories.values[:, here]):
            areas = roc_areas(rankdata(values[:, 1:], axis=0).T, flags[:, None].astype(np.float64))[:, 0]
            visible = areas - 0.5 >= VISIBLE * (areas[-1] - 0.5)
            rows.append(
                {
                    "analysis": analysis,
                    "place": name,
                    "vector": k + 1,
                    "auc_first": areas[0],
                    "auc_last": areas[-1],
                    "visible_step": _first_lasting(trajectories.steps[1:], visible),
                    "loss_half_step": halved,
                    "loss_auc_last": auc(exact[:, -1], flags),
                }
            )
    return pd.DataFrame(rows, columns=list(EMERGENCE_COLUMNS)).astype(dict(EMERGENCE_COLUMNS))


def probe_tables(
    analysis: str, trajectories: Trajectories, loss: Trajectories, labels: Mapping[str, NDArray[Any]]
) -> dict[str, pd.DataFrame]:
    """`probes` and `emergence` of one analysis; `labels` has `tokens`, `place` and `carry`.

    Raises:
        PolcaError: labels that do not fit.
    """
    place, carry = labels["place"], labels["carry"].astype(bool)
    return {
        "probes": carry_probes(analysis, trajectories, place, carry, digit_values(labels["tokens"])),
        "emergence": carry_emergence(analysis, trajectories, loss, place, carry),
    }
