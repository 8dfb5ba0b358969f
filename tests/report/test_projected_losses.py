"""The figure of `polca analyze`: where there is no cluster it still shows losses, and its notes stand below."""

import numpy as np
from matplotlib.figure import Figure

import tiny_analysis
from polca.external.analyze import cluster_table
from polca.report.figures.projected_losses import Overall, draw, render_vectors
from polca.report.figures.style import styled


def drawn(notes: tuple[str, ...] = (), overall: bool = True, **settings: int) -> tuple[Figure, Overall]:
    found = tiny_analysis.analysis(**settings)
    whole = Overall(
        found.projections.steps, found.projections.losses.mean(axis=1), found.trajectories.values.mean(axis=1)
    )
    table = cluster_table(found, tiny_analysis.evaluation())
    with styled():
        return draw(found.clusters, table, whole if overall else None, notes), whole


def curves(figure: Figure) -> list[np.ndarray]:
    """Lines of as many points as there are checkpoints."""
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    return [
        np.asarray(line.get_ydata())
        for line in lines
        if len(np.atleast_1d(line.get_xdata())) == len(tiny_analysis.STEPS)
    ]


def words(figure: Figure) -> str:
    return " ".join(text.get_text().replace("\n", " ") for axes in figure.axes for text in axes.texts)


def test_without_clusters_losses_are_shown() -> None:
    """The mean exact loss, then the mean projected loss of each vector."""
    figure, whole = drawn(min_cluster_size=200)
    found = curves(figure)
    assert len(found) == 1 + len(whole.projected)
    for line, wanted in zip(found, [whole.losses, *whole.projected], strict=True):
        np.testing.assert_allclose(line, wanted, rtol=1e-6)
    assert "No cluster drawn for vectors 1, 2." in words(figure)
    assert not curves(drawn(overall=False, min_cluster_size=200)[0])


def test_with_clusters_nothing_is_added() -> None:
    figure, _ = drawn()
    plain, _ = drawn(overall=False)
    assert len(curves(figure)) == len(curves(plain)) > 0
    assert figure.get_size_inches().tolist() == plain.get_size_inches().tolist()


def test_notes_stand_below() -> None:
    note = (
        "Warning: the basis holds only 0.8% of the mean loss change, less than 5% of it, and this sentence is long. "
        * 2
    )
    for settings in ({}, {"min_cluster_size": 200}):
        figure, _ = drawn((note.strip(),), **settings)
        assert note.strip() in words(figure)
        taller, plain = (float(f.get_size_inches()[1]) for f in (figure, drawn(**settings)[0]))
        assert taller > plain


def test_a_figure_for_each_vector_with_clusters() -> None:
    found = tiny_analysis.analysis()
    table = cluster_table(found, tiny_analysis.evaluation())
    named = dict(render_vectors(found.clusters, table))
    with_clusters = sorted(
        set(found.clusters.cluster_vector[found.clusters.vector_kept[found.clusters.cluster_vector]])
    )
    assert list(named) == [f"vector_{k + 1:02d}" for k in with_clusters]
    assert named
    assert all(contents["png"].startswith(b"\x89PNG") for contents in named.values())
    assert named == dict(render_vectors(found.clusters, table))
