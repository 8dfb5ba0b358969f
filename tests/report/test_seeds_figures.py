"""The figures of the checks on made-up results: layout, and that what they show is what the tables hold."""

import numpy as np
import pandas as pd

from layout import check_layout, words
from polca.machine.files import ROOT, read_params
from polca.report.figures.style import PAGE_WIDTH, encode, styled
from polca.report.figures.validity_seeds import NAMES, draw_constructions, draw_profiles, draw_seeds
from polca.validity.construction_scores import COLUMNS, MEASURES
from polca.validity.profiles import CELLS, compare_profiles
from polca.validity.seeds import ROWS, summarize_values, table_values
from polca.validity.treebank import CONSTRUCTIONS

SEEDS = range(5)


def made_up_values() -> pd.DataFrame:
    """Five seeds; the exact loss never has an eligible cluster, POLCA has one in three of them."""
    generator = np.random.default_rng(0)
    analyses = list(dict.fromkeys(name for rows in ROWS.values() for name in rows.values()))
    clusters = pd.DataFrame(
        [
            {
                "seed": s, "analysis": a, "vector": 1, "cluster": 0, "size": 30, "homogeneity": generator.random(),
                "recall": 0.5, "f1": 0.6, "eligible": a != "loss" and (a != "polca" or s < 3), "hidden": s == 0,
            }
            for s in SEEDS
            for a in analyses
        ]
    )  # fmt: skip
    vectors = pd.DataFrame(
        [
            {"seed": s, "analysis": a, **{f"auc_{p}": generator.uniform(0.5, 1) for p in ("1000s", "100s", "10s")}}
            for s in SEEDS
            for a in analyses
        ]
    )
    return table_values(clusters, vectors)


def test_seeds() -> None:
    values = made_up_values()
    summary = summarize_values(values, read_params(ROOT / "data" / "published.yaml"))
    with styled():
        figure = draw_seeds(values, summary)
        check_layout(figure, PAGE_WIDTH)
        shown = words(figure)
        same = encode(draw_seeds(values, summary))["png"] == encode(draw_seeds(values, summary))["png"]
    assert same
    assert all(name in shown for name in NAMES.values())
    assert shown.splitlines().count("0 of 5") == 1
    assert shown.splitlines().count("3 of 5") == 1
    first = figure.axes[0]
    drawn = np.concatenate([c.get_offsets() for c in first.collections])
    best = values[(values["measure"] == "homogeneity") & (values["rank"] == 1)].dropna()
    expected = best.drop_duplicates(["seed", "value"])["value"]
    assert np.isin(np.round(expected, 9), np.round(drawn[:, 0], 9)).all()


def test_profiles_stand_in_the_order_of_their_partners() -> None:
    base = np.random.default_rng(0).dirichlet(np.full(len(CELLS), 0.3), 10)
    rows = [
        {
            "seed": s,
            "kind": "vector",
            "vector": v + 1,
            "cluster": -1,
            **dict(zip(CELLS, base[(v + s) % 10], strict=True)),
        }
        for s in SEEDS
        for v in range(10)
    ]
    profiles = pd.DataFrame(rows)
    matches, _ = compare_profiles(profiles, 3)
    with styled():
        figure = draw_profiles(profiles, matches)
        check_layout(figure, PAGE_WIDTH)
    pictures = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    assert len(pictures) == len(SEEDS)
    for picture in pictures:
        np.testing.assert_allclose(picture, base)


def test_constructions() -> None:
    generator = np.random.default_rng(0)
    rows = [
        {
            "analysis": a, "construction": c, "measure": m, "tokens": 50, "targets": 5, "vector": 1, "cluster": 0,
            "size": 40, "value": generator.uniform(0.5, 1) if m == "auc" or a == "polca_fine" else np.nan,
            "null_95": 0.6, "within_null_95": 0.7,
        }
        for a in ("loss", "polca", "polca_fine")
        for c in CONSTRUCTIONS
        for m in MEASURES
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    with styled():
        figure = draw_constructions(table)
        check_layout(figure, PAGE_WIDTH)
        shown = words(figure)
    assert "preposition after clause (50)" in shown
    auc = table[(table["analysis"] == "polca") & (table["measure"] == "auc")]["value"]
    drawn = np.concatenate([c.get_offsets() for c in figure.axes[1].collections])[:, 0]
    np.testing.assert_allclose(np.sort(drawn), np.sort(auc))
