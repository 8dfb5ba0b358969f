"""Figure D4 shows the best cluster of each analysis, and every cluster where its breakthrough and purity are."""

from typing import Any

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from layout import check_layout, lines, words
from polca.report.figures.breakthroughs import SHOWN, draw
from polca.report.figures.style import PAGE_WIDTH, percent
from polca.study.results import Results
from polca.tasks.arithmetic.scores import best_clusters
from synthetic import Synthetic, params

pytestmark = pytest.mark.usefixtures("style")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return Results(Synthetic(tmp_path_factory.mktemp("run")).write().paths, params())


def panels(results: Results) -> tuple[list[Any], list[Any]]:
    axes = draw(results).axes
    return axes[: len(SHOWN)], axes[len(SHOWN) :]


def test_best_clusters_and_their_breakthroughs(results: Results) -> None:
    above, _ = panels(results)
    shown = 0
    for axes, name in zip(above, SHOWN, strict=True):
        best = best_clusters(results.clusters, name)
        if best.empty:
            continue
        shown += 1
        vector, number = best.iloc[0][["vector", "cluster"]].astype(int)
        own = results.clusters.query("analysis == @name and vector == @vector and cluster == @number").iloc[0]
        said = "".join(text.get_text() for text in axes.texts)
        assert f"{percent(100 * own['homogeneity'])} carry ({own['size']:,})" in said
        curves = results.curves(name)
        row = results.cluster_row(curves, vector, number)
        (curve,) = lines(axes)
        np.testing.assert_array_equal(
            curve.get_ydata(), curves.projected_quartiles[row, 1][: len(curve.get_ydata())], err_msg=name
        )
        (triangle,) = [line for line in axes.lines if line.get_marker() == "v"]
        assert triangle.get_xdata()[0] == own["break_step"]
    assert shown > 1


def test_every_cluster_at_its_breakthrough_and_purity(results: Results) -> None:
    _, below = panels(results)
    filled = 0
    for axes, name in zip(below, SHOWN, strict=True):
        own = results.clusters[results.clusters["analysis"] == name].sort_values(["vector", "cluster"])
        dots = [c for c in axes.collections if isinstance(c, PathCollection)]
        assert len(dots) == len(own)
        for dot, row in zip(dots, own.to_dict("records"), strict=True):
            assert dot.get_offsets()[0].tolist() == pytest.approx([row["break_step"], 100 * row["homogeneity"]])
            assert bool(len(dot.get_facecolor())) == bool(row["eligible"])
            filled += bool(row["eligible"])
    assert filled > 1


def test_steps_of_a_flat_loss_are_grey(results: Results) -> None:
    flat = results.scalar("flat_step")
    for axes in draw(results).axes:
        if axes.axison:
            (grey,) = axes.patches
            assert [grey.get_x(), grey.get_x() + grey.get_width()] == [flat, axes.get_xlim()[1]]
    assert f"after step {flat:,.0f}" in words(draw(results))


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({}, {}),
        ({"sequences": 60, "empty": ("loss", "polca")}, {}),
        ({"scale": 1e-6}, {"plots": {"last_step": 14000}}),
        ({"crowded": 1}, {"plots": {"last_step": 1000}}),
    ],
)
def test_layout(options: dict[str, Any], settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    found = Results(Synthetic(tmp_path_factory.mktemp("run"), **options).write().paths, params(**settings))
    figure = draw(found)
    check_layout(figure, PAGE_WIDTH)
    if "empty" in options:
        assert words(figure).count("no cluster\nof carries") >= 2
        assert words(figure).count("no clusters") == 2
