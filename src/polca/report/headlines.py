"""The dozen numbers that head a preset's results, and the file that has all of them.

`paper/<preset>/metrics.json` holds the dozen, which `dvc metrics show` prints side by side for all presets;
`paper/<preset>/metrics_all.json` holds every scalar.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polca.study.paths import PresetPaths

HEADLINES: Mapping[str, str] = {
    "loss": "arithmetic_loss_last",
    "homogeneity": "arithmetic_polca_best_homogeneity",
    "of_loss": "arithmetic_loss_best_homogeneity",
    "of_random": "arithmetic_polca_random_best_homogeneity",
    "hidden": "arithmetic_polca_fraction_hidden",
    "auc_1000s": "arithmetic_best_auc_1000s",
    "auc_100s": "arithmetic_best_auc_100s",
    "auc_10s": "arithmetic_best_auc_10s",
    "seen": "arithmetic_completeness_trapezoid_fraction",
    "en_loss": "english_loss_last",
    "en_simple": "english_vectors_with_simple_label",
    "en_seen": "english_completeness_trapezoid_fraction",
}
"""Short names, for columns side by side, and the scalars' own.

Of addition: the last mean loss, the best homogeneity of POLCA, of the exact loss and of random directions, the share of
POLCA's clusters with a hidden breakthrough, the best AUC of carry by place, and the share of the loss change that the
basis sees. Of English: the last mean loss, the kept vectors that have a cluster with a simple label, the share seen.
"""


def scalars_path(paths: PresetPaths) -> Path:
    """`paper/<preset>/metrics_all.json`."""
    return paths.paper / "metrics_all.json"


def headlines(scalars: Mapping[str, Any]) -> dict[str, Any]:
    """The headlines among all `scalars`: those of the settings that the preset has."""
    return {short: scalars[name] for short, name in HEADLINES.items() if name in scalars}
