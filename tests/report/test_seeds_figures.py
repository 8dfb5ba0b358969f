"""The figures of the checks on made-up results: layout, and that what they show is what the tables hold."""

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from layout import check_layout, words
from polca.machine.checkout import ROOT
from polca.machine.files import read_params
from polca.report.figures.style import PAGE_WIDTH, encode, styled
from polca.report.figures.validity import ANALYSES, BLUE
from polca.report.figures.validity_seeds import draw_constructions, draw_seeds
from polca.validity.construction_scores import COLUMNS, MEASURES
from polca.validity.seeds import summarize_values
from polca.validity.treebank import CONSTRUCTIONS
from synthetic_seeds import made_up_values


def test_seeds() -> None:
    values = made_up_values().query("reading == 'standardised'")
    summary = summarize_values(values, read_params(ROOT / "data" / "published.yaml"))
    with styled():
        figure = draw_seeds(values, summary)
        check_layout(figure, PAGE_WIDTH)
        shown = words(figure)
        same = encode(draw_seeds(values, summary))["png"] == encode(draw_seeds(values, summary))["png"]
    assert same
    assert all(name in shown for name in ANALYSES.values())
    assert shown.splitlines().count("0 of 5") == 1
    assert shown.splitlines().count("3 of 5") == 1
    first = figure.axes[0]
    drawn = np.concatenate([c.get_offsets() for c in first.collections])
    best = values[(values["measure"] == "homogeneity") & (values["rank"] == 1)].dropna()
    expected = best.drop_duplicates(["seed", "value"])["value"]
    assert np.isin(np.round(expected, 9), np.round(drawn[:, 0], 9)).all()


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
    dots = [c for c in figure.axes[1].collections if to_hex(c.get_facecolor()[0]).upper() == BLUE]
    drawn = np.concatenate([c.get_offsets() for c in dots])[:, 0]
    np.testing.assert_allclose(np.sort(drawn), np.sort(auc))
