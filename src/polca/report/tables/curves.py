"""What `dvc plots show` draws of every preset: losses over training and the homogeneity of clusters."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from polca.study.results import EnglishResults, Results, TaskResults


def training_losses(results: TaskResults) -> pd.DataFrame:
    """Columns step and loss: the mean training loss over each interval between checkpoints."""
    every = results.param("training.checkpoint_interval")
    log = results.training_log
    means = log.groupby(log["step"] // every)["loss"].mean()
    return pd.DataFrame({"step": (means.index + 1) * every, "loss": means.to_numpy()})


def projected_losses(results: TaskResults) -> pd.DataFrame:
    """Columns step and loss: the mean projected loss (nats) over all clustered tokens of POLCA's kept vectors."""
    curves, sizes = results.curves("polca"), results.clusters[results.clusters["analysis"] == "polca"]
    if sizes.empty:
        return pd.DataFrame(columns=["step", "loss"])
    rows = [results.cluster_row(curves, r["vector"], r["cluster"]) for r in sizes.to_dict("records")]
    means = np.average(curves.projected_mean[rows].astype(np.float64), axis=0, weights=sizes["size"])
    return pd.DataFrame({"step": curves.steps, "loss": means})


def homogeneities(results: TaskResults) -> pd.DataFrame:
    """Columns vector and homogeneity: of each vector's best cluster, 0 where it has none.

    Of English, which has no labels to be right about, the largest share of a cluster that fits the cluster's name.
    """
    column = "fit" if isinstance(results, EnglishResults) else "homogeneity"
    own = results.clusters[results.clusters["analysis"] == "polca"]
    vectors = results.vectors.loc[results.vectors["analysis"] == "polca", "vector"]
    best = own.groupby("vector")[column].max().reindex(vectors, fill_value=0.0)
    return pd.DataFrame({"vector": best.index, "homogeneity": best.to_numpy(np.float64)})


PLOTS: Mapping[str, Callable[[Results | EnglishResults], pd.DataFrame]] = {
    "training_loss": training_losses,
    "projected_loss": projected_losses,
    "homogeneity": homogeneities,
}
"""Folders of `paper/<preset>/plots/`, one file a task in each."""
