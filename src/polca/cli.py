"""`polca …`: what one wants from a finished run, without DVC."""

from pathlib import Path
from typing import Annotated

import typer

from polca.artifacts import ROOT, PresetPaths, read_json
from polca.errors import PolcaError
from polca.runtime import configure_torch

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Hidden breakthroughs in language model training.")

Preset = Annotated[str, typer.Argument(help="Name of a folder in presets/.")]
Root = Annotated[Path, typer.Option(help="The checkout to work in.")]


@app.callback()
def prepare() -> None:
    """Pin threads and kernels before any command."""
    configure_torch()


def _preset(name: str, root: Path) -> PresetPaths:
    known = sorted(p.parent.name for p in (root / "presets").glob("*/params.yaml"))
    if name not in known:
        raise PolcaError(f"preset {name!r}: no such preset (known: {', '.join(known)})")
    return PresetPaths(name, root)


@app.command()
def claims(preset: Preset = "laptop", root: Root = ROOT) -> None:
    """Print the paper's claims and whether each holds in a preset's results."""
    from rich.console import Console
    from rich.table import Table

    from polca.artifacts import read_csv

    table = Table("claim", "rule", "statistic", "verdict", show_lines=True)
    for row in read_csv(_preset(preset, root).tables / "claims.csv").itertuples():
        table.add_row(str(row.sentence), str(row.rule), str(row.statistic), str(row.verdict))
    Console().print(table)


@app.command()
def metrics(preset: Preset = "laptop", root: Root = ROOT) -> None:
    """Print every scalar of a preset's metrics.json."""
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "value")
    for name, value in read_json(_preset(preset, root).metrics).items():
        table.add_row(name, str(value))
    Console().print(table)


@app.command()
def plan(preset: Preset = "laptop", root: Root = ROOT) -> None:
    """Say what a preset will take before it is run: arithmetic, disk, memory, time on this machine."""
    import os

    from rich.console import Console
    from rich.table import Table

    from polca import plan as planning
    from polca.settings import read_arithmetic

    paths = _preset(preset, root)
    costs, rate = planning.plan(paths), planning.matrix_product_rate()
    workers, cores = read_arithmetic(paths.params).workers, os.cpu_count() or 1
    table = Table("stage", "TFLOP", "disk, MiB", "memory, MiB", "minutes of one core")
    for column in table.columns[1:]:
        column.justify = "right"
    for cost in costs:
        minutes = cost.core_seconds(rate) / 60
        numbers = (cost.flops / 1e12, cost.disk / 2**20, cost.memory / 2**20)
        table.add_row(cost.stage, *(f"{number:,.0f}" for number in numbers), f"{minutes:,.0f}")
    Console().print(table)
    wall = planning.wall_seconds(costs, rate, workers, cores)
    typer.echo(
        f"{rate / 1e9:.0f} GFLOP/s a core, {cores} cores, {workers} workers: about {wall / 60:,.0f} minutes "
        f"without the light stages; {sum(c.disk for c in costs) / 2**30:.1f} GiB of results. "
        "Estimates, good to a factor of two."
    )


def main() -> None:
    """Entry point: bad input ends in one line and exit code 1."""
    try:
        app()
    except PolcaError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from error
