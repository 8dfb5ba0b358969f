"""`polca …`: results of a finished run without DVC, and the method on checkpoints of one's own."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from polca.errors import PolcaError
from polca.external.command import analyze
from polca.machine.extras import needs
from polca.machine.files import ROOT, read_json, write_json
from polca.machine.runtime import start_pinned
from polca.study.paths import PresetPaths, presets
from polca.version import VERSION

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Hidden breakthroughs in language model training.")

Preset = Annotated[str, typer.Argument(help="Name of a folder in presets/.")]
Root = Annotated[Path, typer.Option(help="The checkout to work in.", show_default="the code's own, or this folder")]
CHECKOUT = ROOT if (ROOT / "presets").is_dir() else Path()
"""Of an installed package, whose folder is none, the one that it is started in."""


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(VERSION)
        raise typer.Exit


@app.callback()
def prepare(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Pin threads and kernels before any command."""
    start_pinned()


def _preset(name: str, root: Path) -> PresetPaths:
    if not presets(root):
        raise PolcaError(f"{root.resolve()}: no checkout of polca (it has no presets): name one with --root")
    return PresetPaths.named(name, root)


app.command()(analyze)


@app.command()
def verify(
    preset: Preset = "laptop",
    json: Annotated[Path | None, typer.Option(help="Write the same as JSON to this file.")] = None,
    root: Root = CHECKOUT,
) -> None:
    """Check the paper's claims, and its numbers, against a preset's committed results.

    Exits with 1 if a claim fails that the preset is expected to show (data/expected.yaml).
    """
    paths = _preset(preset, root)
    with needs("repro"):
        from polca.report.comparison import KINDS
        from polca.report.verify import counted
        from polca.report.verify import verify as check

    found = check(paths)
    if json is not None:
        write_json(json, found.as_json())
    console = Console()
    table = Table("claim", "reading", "rule", "statistic", "expected", "verdict", title="Claims", show_lines=True)
    for c in found.claims:
        about, verdict = "English: " if c.claim.startswith("english_") else "", f"{c.verdict}: {c.why}"
        table.add_row(f"{about}{c.sentence}", c.reading, c.rule, c.statistic, "yes" if c.expected else "no", verdict)
    console.print(table)
    table = Table(
        "where", "number", "published", "reproduced", "tolerance", "verdict", title="Published and reproduced"
    )
    for r in found.numbers.rows:
        where = f"{r.setting}, {r.source}" if r.source == "text" else r.source
        number = r.number.removeprefix(f"{r.setting}_")
        table.add_row(where, number, r.published, r.reproduced or "–", KINDS[r.kind].tolerance, r.verdict)
    console.print(table)
    if found.run:
        console.print(found.run, markup=False, highlight=False)
    for setting, others in found.numbers.other_settings.items():
        words = (
            f"not the paper's, so no result is judged. Other settings: {', '.join(others)}" if others else "the paper's"
        )
        console.print(f"Scale, {setting}: {words}.", markup=False, highlight=False)
    console.print(f"Claims: {counted([c.verdict for c in found.claims])}.", highlight=False)
    console.print(f"Numbers: {counted([r.verdict for r in found.numbers.rows])}.", highlight=False)
    if found.failures:
        raise PolcaError(f"{preset}: expected, but fails: {', '.join(found.failures)}: see data/expected.yaml")


@app.command()
def metrics(preset: Preset = "laptop", root: Root = CHECKOUT) -> None:
    """Print every scalar of a preset's metrics.json."""
    table = Table("metric", "value")
    for name, value in read_json(_preset(preset, root).metrics).items():
        table.add_row(name, str(value))
    Console().print(table)


@app.command()
def plan(preset: Preset = "laptop", root: Root = CHECKOUT) -> None:
    """Estimate what a run of a preset takes: arithmetic, disk, memory, time on this machine."""
    from polca.machine.parallel import default_workers

    paths = _preset(preset, root)
    with needs("repro"):
        from polca.study import plan as planning
        from polca.study.settings import Preset as ReadPreset

    workers = cores = default_workers()
    costs, rate = planning.plan(ReadPreset.read(paths), workers), planning.matrix_product_rate()
    numbers = ("TFLOP", "disk, MiB", "memory, MiB", "minutes of one core")
    table = Table("stage", *(Column(name, justify="right") for name in numbers))
    for cost in costs:
        values = (cost.flops / 1e12, cost.disk / 2**20, cost.memory / 2**20, cost.core_seconds(rate) / 60)
        table.add_row(cost.stage, *(f"{value:,.0f}" for value in values))
    Console().print(table)
    wall = planning.wall_seconds(costs, rate, workers, cores)
    typer.echo(
        f"{rate / 1e9:.0f} GFLOP/s a core, {cores} cores, {workers} workers: about {wall / 60:,.0f} minutes "
        f"without the light stages, {sum(c.disk for c in costs) / 2**30:.1f} GiB of results. "
        "These are estimates, good to a factor of two."
    )


@app.command()
def explore(
    source: Annotated[
        str,
        typer.Argument(
            metavar="PRESET|FOLDER",
            help="Name of a preset (a folder in presets/), or a folder that polca analyze wrote. A preset comes first "
            "if both exist; a slash (laptop/) means the folder.",
        ),
    ] = "laptop",
    output: Annotated[
        Path | None,
        typer.Option(help="The file to write; runs/PRESET/explorer.html or FOLDER/explorer.html where not given."),
    ] = None,
    root: Root = CHECKOUT,
) -> None:
    """Write one HTML page of results for a browser: clusters, their losses, every token."""
    with needs("explore"):
        from polca.explorer import analysis_page, preset_page, write_page

    known = presets(root)
    if source in known:
        paths = PresetPaths(source, root)
        page, target = preset_page(paths), paths.run / "explorer.html"
    elif Path(source).is_dir():
        page, target = analysis_page(Path(source)), Path(source) / "explorer.html"
    else:
        raise PolcaError(
            f"{source}: neither a preset (known: {', '.join(known) or 'none, without a checkout'}) nor a folder: "
            "name a preset, or the folder that polca analyze wrote (its --out)"
        )
    target = target if output is None else output
    write_page(page, target)
    typer.echo(f"{target} ({target.stat().st_size / 1e6:.1f} MB): open it in a browser")


def main() -> None:
    """Entry point: bad input ends in one line and exit code 1."""
    try:
        app()
    except PolcaError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
