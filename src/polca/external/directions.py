"""All vectors together on anyone's checkpoints: signatures, a map of tokens, and its clusters with their tokens."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.machine.files import read_npz, write_csv, write_npz
from polca.method.clustering import medoid
from polca.method.decomposition import Trajectories
from polca.method.maps import joint_clusters, token_map
from polca.method.signatures import SHARES, signatures
from polca.tasks.scores import top_tokens

MAPPED = 5000
"""Tokens on a map at most, evenly spaced among the evaluated ones: t-SNE takes half a minute of so many."""


@dataclass(frozen=True)
class Directions:
    """What all kept vectors together say of tokens.

    Attributes:
        signatures: `[X, F]` of all tokens (`polca.signatures`), float32 where they were read from a file.
        tokens: `[n]` those on the map.
        coordinates: `[n, 2]`.
        clusters: `[n]` of the map, −1 for outliers.
    """

    signatures: NDArray[np.floating]
    tokens: NDArray[np.int64]
    coordinates: NDArray[np.float32]
    clusters: NDArray[np.int64]


def directions(
    trajectories: Trajectories, kept: NDArray[np.bool_], min_cluster_size: int, earlier: Directions | None = None
) -> Directions | None:
    """Signatures along the kept vectors, their map and its clusters; None for fewer than two vectors or five tokens.

    Args:
        kept: `[K]`; where none is, all vectors serve.
        min_cluster_size: of all tokens; a map of fewer asks for a smaller one in proportion, at least 5.
        earlier: of another clustering, whose map serves again where the signatures are the same.
    """
    chosen = kept if kept.any() else np.ones_like(kept)
    tokens = trajectories.values.shape[1]
    if chosen.sum() < 2 or tokens < 5:
        return None
    rows = signatures(trajectories, SHARES, chosen)
    on_map = np.unique(np.linspace(0, tokens - 1, min(tokens, MAPPED)).round().astype(np.int64))
    same = (
        earlier is not None
        and np.array_equal(earlier.signatures, rows.astype(np.float32))
        and np.array_equal(earlier.tokens, on_map)
    )
    coordinates = earlier.coordinates if earlier is not None and same else token_map(rows[on_map])
    least = max(5, round(min_cluster_size * len(on_map) / tokens))
    return Directions(rows, on_map, coordinates, joint_clusters(coordinates, least))


def telling_token(inside: Sequence[str], everywhere: Counter[str]) -> tuple[str, float, float]:
    """The name that says most of a cluster: it, its share there, and that share over its share of all tokens.

    Largest is share · log(share there / share of all), its part of the Kullback–Leibler divergence; ties in the order
    of the alphabet.
    """
    total = everywhere.total()
    shares = {name: count / len(inside) for name, count in sorted(Counter(inside).items())}
    lifts = {name: share * total / everywhere[name] for name, share in shares.items()}
    name = max(shares, key=lambda n: shares[n] * log(lifts[n]))
    return name, shares[name], lifts[name]


def joint_table(found: Directions, names: Sequence[str]) -> pd.DataFrame:
    """One row a cluster of the map.

    Args:
        names: `[X]` what each token is called.

    Returns:
        cluster, size, telling_token, telling_share and telling_lift (`telling_token`), top_tokens, and `center`, the
        token in the middle of the cluster.
    """
    everywhere = Counter(names[int(x)] for x in found.tokens)
    rows = []
    for cluster in range(int(found.clusters.max(initial=-1)) + 1):
        members = found.tokens[found.clusters == cluster]
        inside = [names[int(x)] for x in members]
        name, share, lift = telling_token(inside, everywhere)
        center = int(members[medoid(found.coordinates[found.clusters == cluster])])
        rows.append((cluster, len(members), name, share, lift, top_tokens(inside), center))
    columns = ["cluster", "size", "telling_token", "telling_share", "telling_lift", "top_tokens", "center"]
    return pd.DataFrame(rows, columns=columns)


def read_directions(directory: Path) -> Directions | None:
    """What `write_directions` wrote; None where it is missing or damaged, since it can be made again."""
    try:
        values = read_npz(directory / "signatures.npz", {"values": "finite X F"})["values"]
        form = {"tokens": "int N", "coordinates": "finite N 2", "clusters": "int N"}
        return Directions(values, **read_npz(directory / "token_map.npz", form))
    except PolcaError:
        return None


def write_directions(found: Directions, names: Sequence[str], directory: Path) -> list[Path]:
    """Write `signatures.npz`, `token_map.npz`, `joint_clusters.csv`, and the map as `token_map.pdf` and `.png`."""
    from polca.report.figures.directions import draw_token_map
    from polca.report.figures.style import encode, save, styled

    paths = [directory / name for name in ("signatures.npz", "token_map.npz", "joint_clusters.csv")]
    table = joint_table(found, names)
    write_npz(paths[0], {"values": found.signatures.astype(np.float32)})
    arrays: dict[str, NDArray[Any]] = {
        "tokens": found.tokens,
        "coordinates": found.coordinates,
        "clusters": found.clusters,
    }
    write_npz(paths[1], arrays)
    write_csv(paths[2], table)
    with styled():
        contents = encode(draw_token_map(found.coordinates, found.clusters, table["telling_token"].tolist()))
    return [*paths, *save(contents, directory / "token_map")]
