"""Draw what `speed.py` measured: ratios against the alternatives, and how cost grows.

python benchmarks/plot_speed.py   # reads speed.json; writes speed.csv, speed.pdf and speed.png beside it

A measurement that failed or was stopped is named and left out.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from polca.machine.files import write_csv, writing
from polca.report.figures import style

HERE = Path(__file__).resolve().parent
SIZES = ("setting", "sequences", "vectors", "width", "context")


def load(path: Path) -> tuple[pd.DataFrame, float]:
    """One row a measurement, with its least time, and the machine's matrix-product rate (operations a second).

    Both are NaN where there was an error.
    """
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    peak = next((row.get("flops_per_second", np.nan) for row in rows if row["case"] == "peak"), np.nan)
    empty = dict.fromkeys(("seconds", "tokens", "parameters", "flops", "peak_mib"), np.nan)
    table = pd.DataFrame([{**empty, **row} for row in rows if row["case"] != "peak"])
    table["least"] = [min(s) if isinstance(s, list) and s else np.nan for s in table["seconds"]]
    return table, float(peak)


def _pick(table: pd.DataFrame, case: str, method: str, setting: str) -> pd.DataFrame:
    return table[(table["case"] == case) & (table["method"] == method) & (table["setting"] == setting)]


def _per_value(row: Mapping[Any, Any]) -> float:
    """Seconds for one token and vector."""
    return float(row["least"] / (row["tokens"] * row["vectors"]))


def ratios(table: pd.DataFrame, peak: float) -> pd.DataFrame:
    """One row a comparison, one column a setting; empty where it was not measured."""
    growth, table = table[table["case"] == "growth"], table[table["least"].notna()]
    out: list[dict[str, Any]] = []

    def note(what: str, setting: str, value: float) -> None:
        if np.isfinite(value):
            out.append({"what": what, "setting": setting, "value": value})

    for setting in ("arithmetic", "english"):
        ours = _pick(table, "projections", "ours", setting).sort_values("tokens")
        if ours.empty:
            continue
        large, small = ours.iloc[-1], ours.iloc[0]
        for method in ("vmap_grad", "loop_grad", "jvp_each"):
            theirs = _pick(table, "projections", method, setting)
            if len(theirs):
                row = theirs.iloc[0]
                note(f"projections: time of {method} / ours", setting, _per_value(row) / _per_value(large))
                same = small if row["tokens"] == small["tokens"] else large
                note(f"projections: memory of {method} / ours", setting, row["peak_mib"] / same["peak_mib"])
        note("projections: share of the matrix-product rate", setting, large["flops"] / large["least"] / peak)
        curved = _pick(table, "curvature", "ours", setting)
        slow = _pick(table, "curvature", "vmap_hvp", setting)
        if len(curved):
            own = _per_value(curved.iloc[0])
            note("exact curvature: time / projections", setting, own / _per_value(large))
            for row in slow.head(1).to_dict("records"):
                note("exact curvature: time of vmap_hvp / ours", setting, _per_value(row) / own)
        products = table[(table["case"] == "hvp") & (table["setting"] == setting)]
        for row in products.itertuples():
            note(f"Hessian product: {row.method} / gradient", setting, row.least / min(row.gradient_seconds))
        for own in products[products["method"] == "ours"]["least"]:
            for row in products[products["method"].isin(["double_backward", "curvlinops"])].itertuples():
                note(f"Hessian product: time of {row.method} / ours", setting, row.least / own)
    for row in table[table["case"] == "eigenpairs"].itertuples():
        note(f"top eigenpair: products of {row.method}", "arithmetic", row.matvecs)
        note(f"top eigenpair: relative residual of {row.method}", "arithmetic", row.relative_residual)
    for axis, (x, y) in _curves(growth).items():
        if len(x) > 1:
            note(f"growth with {axis}: slope of log time", "english", float(np.polyfit(np.log(x), np.log(y), 1)[0]))
    memory = table[table["case"] == "memory"].set_index("sequences")["peak_mib"]
    most = memory.index.max() if len(memory) else 0
    # Not from one batch alone: the process' heap takes a few to settle.
    if most // 8 in memory.index:
        note("memory at eight times the tokens / memory", "english", memory[most] / memory[most // 8])
    order = list(dict.fromkeys(row["what"] for row in out))
    wide = pd.DataFrame(out, columns=["what", "setting", "value"]).pivot(
        index="what", columns="setting", values="value"
    )
    return wide.loc[order].reset_index()


def _curves(growth: pd.DataFrame) -> dict[str, tuple[Any, Any]]:
    """Least seconds against what varies, all else at the first row's sizes; without what was not measured."""
    if growth.empty:
        return {}
    base, growth = growth.iloc[0], growth[growth["least"].notna()]
    curves = {}
    for axis, column in (("tokens", "tokens"), ("vectors", "vectors"), ("parameters", "parameters")):
        varied = {"tokens": "sequences", "vectors": "vectors", "parameters": "width"}[axis]
        others = [name for name in SIZES if name != varied]
        rows = growth[(growth[others] == base[others]).all(axis=1)].sort_values(column)
        curves[axis] = (rows[column].to_numpy(float), rows["least"].to_numpy(float))
    rows = growth[(growth[["sequences", "vectors", "width"]] == base[["sequences", "vectors", "width"]]).all(axis=1)]
    rows = rows.sort_values("context")
    curves["context"] = (rows["context"].to_numpy(float), rows["least"].to_numpy(float))
    return curves


def draw(growth: pd.DataFrame) -> Figure:
    """Time against each size, with a line of slope 1."""
    figure = style.new_figure(style.PAGE_WIDTH, 1.9)
    panels = figure.subplots(1, 4, sharey=True)
    for axes, (name, (x, y)) in zip(panels, _curves(growth).items(), strict=False):
        if not len(x):
            style.say(axes, f"{name}: not measured")
            continue
        axes.loglog(x, y, "o-", markersize=3)
        axes.loglog(x, y[0] * x / x[0], ":", color=style.MUTED, linewidth=1)
        axes.set_xlabel(name)
        axes.set_xticks(x, [f"{v:,.0f}" if v < 1e5 else f"{v / 1e6:.1f} M" for v in x])
        axes.minorticks_off()
    panels[0].set_ylabel("seconds")
    return figure


def main() -> None:
    """Write the table and the plot."""
    table, peak = load(HERE / "speed.json")
    for row in table[table["least"].isna()].to_dict("records"):
        why = row.get("error", "no time")
        print(f"left out: {row['case']} of {row['method']}, {row['setting']}: {why}", file=sys.stderr)
    write_csv(HERE / "speed.csv", ratios(table, peak))
    with style.styled():
        files = style.encode(draw(table[table["case"] == "growth"]))
    for kind, content in files.items():
        with writing(HERE / f"speed.{kind}") as temporary:
            temporary.write_bytes(content)


if __name__ == "__main__":
    main()
