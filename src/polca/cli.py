"""`polca …`: results of a finished run without DVC, and the method on checkpoints of one's own.

What a command computes with is loaded when it runs, after what can be refused is refused: help and a wrong name take
no PyTorch.
"""

from pathlib import Path
from typing import Annotated

import typer

from polca.errors import PolcaError
from polca.external.command import analyze, cluster
from polca.machine.extras import needs
from polca.study.paths import PresetPaths, presets
from polca.version import VERSION

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Hidden breakthroughs in language model training.")

Preset = Annotated[str, typer.Argument(help="Name of a folder in presets/.")]
Root = Annotated[Path, typer.Option(help="The checkout to work in.", show_default="the code's own, or this folder")]
_CODE = Path(__file__).resolve().parents[2]
CHECKOUT = _CODE if (_CODE / "presets").is_dir() else Path()
"""Of an installed package, whose folder is none, the one that it is started in."""


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(VERSION)
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def _preset(name: str, root: Path) -> PresetPaths:
    known = presets(root)
    if not known:
        raise PolcaError(f"{root.resolve()}: no checkout of polca (it has no presets): name one with --root")
    if name not in known:
        raise PolcaError(f"preset {name!r}: no such preset (known: {', '.join(known)}): name one of these")
    return PresetPaths(name, root)


app.command()(analyze)
app.command()(cluster)


@app.command()
def verify(
    preset: Preset = "laptop",
    numbers: Annotated[
        bool, typer.Option("--numbers", help="Show every published number beside ours as well.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option(help="Write the same as JSON to this file; - shows it instead of the tables.")
    ] = None,
    root: Root = CHECKOUT,
) -> None:
    """Check the paper's claims, and its numbers, against a preset's committed results.

    Exits with 1 if a claim fails that the preset is expected to show (data/expected.yaml).
    """
    paths = _preset(preset, root)
    with needs("repro"):
        from polca.report.verify import print_verification, write_verification
        from polca.report.verify import verify as check

    found = check(paths)
    if json is not None:
        write_verification(found, json)
    if json != Path("-"):
        print_verification(found, numbers)
    if found.failures:
        raise PolcaError(f"{preset}: expected, but fails: {', '.join(found.failures)}: see data/expected.yaml")


@app.command()
def metrics(preset: Preset = "laptop", root: Root = CHECKOUT) -> None:
    """Print every scalar of a preset's metrics_all.json."""
    paths = _preset(preset, root)
    from rich.console import Console
    from rich.table import Table

    from polca.machine.files import read_json
    from polca.report.headlines import scalars_path

    table = Table("metric", "value")
    for name, value in read_json(scalars_path(paths)).items():
        table.add_row(name, str(value))
    Console().print(table)


@app.command()
def plan(preset: Preset = "laptop", root: Root = CHECKOUT) -> None:
    """Estimate what a run of a preset takes: arithmetic, disk, memory, time on this machine and on a GPU."""
    paths = _preset(preset, root)
    from polca.machine.pinned import start_pinned

    start_pinned()
    with needs("repro"):
        from polca.study.plan_report import print_plan

    print_plan(paths)


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
    known = presets(root)
    if source not in known and not Path(source).is_dir():
        raise PolcaError(
            f"{source}: neither a preset (known: {', '.join(known) or 'none, without a checkout'}) nor a folder: "
            "name a preset, or the folder that polca analyze wrote (its --out)"
        )
    from polca.machine.pinned import start_pinned

    start_pinned()
    with needs("explore"):
        from polca.explorer import analysis_page, preset_page, write_page

    if source in known:
        paths = _preset(source, root)
        page, target = preset_page(paths), paths.run / "explorer.html"
    else:
        page, target = analysis_page(Path(source)), Path(source) / "explorer.html"
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
