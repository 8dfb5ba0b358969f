"""Tables of clusters for a task that has no scores of its own: what they are and what tokens they hold."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from polca.method.clustering import Clusters, vector_counts

TOP_TOKENS = 5


def top_tokens(names: Iterable[str]) -> str:
    """The most frequent names with their counts, ties by name."""
    counts = sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} ({count})" for name, count in counts[:TOP_TOKENS])


def plain_tables(
    analysis: str, clusters: Clusters, breaks: pd.DataFrame, names: NDArray[Any]
) -> dict[str, pd.DataFrame]:
    """One row a cluster and one row a vector.

    Args:
        breaks: of `breakthroughs`, a row a cluster.
        names: `[X]` what each token is called.
    """
    rows = breaks.copy()
    rows.insert(0, "analysis", analysis)
    rows.insert(3, "size", clusters.cluster_size)
    rows["top_tokens"] = [top_tokens(map(str, names[clusters.members(m)])) for m in range(len(clusters))]
    vectors = [
        {
            "analysis": analysis,
            "vector": k + 1,
            "vector_step": int(clusters.vector_steps[k]),
            "kept": bool(clusters.vector_kept[k]),
            **vector_counts(labels),
        }
        for k, labels in enumerate(clusters.labels)
    ]
    return {"clusters": rows, "vectors": pd.DataFrame(vectors)}
