"""Heavy stages on a machine that has neither DVC nor spaCy nor a network, and what comes back from it.

    python -m polca.study.elsewhere run --preset paper --setting arithmetic --device cuda --minutes 9
    python -m polca.study.elsewhere pack results paper
    python -m polca.study.elsewhere unpack results/*.zip --preset paper

`run` starts the stages that follow each other in a setting, from training to clusters, and stops at the time given:
the same command goes on where it was. `pack` writes what tables, figures and report need, a few megabytes where
checkpoints and projections are gigabytes; `unpack` puts it in place, and `make report` makes the rest from it. The
English setting starts from text and tags that `english_corpus` and `english_tag` made: they travel as `inputs`.
"""

import hashlib
import os
import platform
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import typer
import yaml

from polca.errors import PolcaError
from polca.machine.files import ROOT, PresetPaths, read_json, read_params, write_json, writing
from polca.machine.runtime import ENVIRONMENT

STEPS = ("train", "basis", "project", "cluster")
"""Stages of a setting that run here, in this order; all but the last may use a GPU."""
UNFINISHED = 75
"""Exit code where the time ran out before the work was done: EX_TEMPFAIL of sysexits.h."""
DATE = (1980, 1, 1, 0, 0, 0)
"""Of every file in an archive, so that the same results give the same bytes."""


class Content(StrEnum):
    """What an archive holds."""

    INPUTS = "inputs"
    RESULTS = "results"


class Setting(StrEnum):
    """The paper's two settings."""

    ARITHMETIC = "arithmetic"
    ENGLISH = "english"


@dataclass(frozen=True)
class Graph:
    """The stages of a preset as dvc.yaml has them: what they read and write, as paths from the checkout's root."""

    paths: PresetPaths

    @cached_property
    def _stages(self) -> dict[str, Any]:
        with (ROOT / "dvc.yaml").open(encoding="utf-8") as handle:
            stages: dict[str, Any] = yaml.safe_load(handle)["stages"]
        return stages

    def _named(self, entries: Sequence[Any]) -> list[str]:
        names = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
        return [name.replace("${preset.name}", self.paths.name) for name in names]

    def outputs(self, stage: str) -> list[str]:
        """What a stage writes."""
        return self._named(self._stages[stage]["outs"])

    def content(self, content: Content, settings: Sequence[Setting]) -> list[str]:
        """What travels: of results, what tables and figures read and a stage of `run` wrote."""
        stages = self._stages
        if content is Content.INPUTS:
            return [out for stage in ("english_corpus", "english_tag") for out in self.outputs(stage)]
        written = [out for s in settings for step in STEPS for out in self.outputs(f"{s.value}_{step}")]
        needed = {dep for stage in ("tables", "figures") for dep in self._named(stages[stage]["deps"])}
        return [*(out for out in written if out in needed), *(self.report(s) for s in settings)]

    def report(self, setting: Setting) -> str:
        """The file that says what ran where, and how long."""
        return f"paper/{self.paths.name}/elsewhere_{setting.value}.json"


def _preset(name: str, root: Path) -> PresetPaths:
    paths = PresetPaths(name, root)
    read_params(paths.params)  # raises, with the presets that exist
    return paths


def _machine(device: str) -> dict[str, Any]:
    """Hardware and versions, for the report."""
    import numpy as np
    import torch

    facts: dict[str, Any] = {
        "device": device,
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    if device == "cuda" and torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def _fingerprint(paths: PresetPaths, stage: str, device: str) -> str:
    """Of parameters, code and device: a stage that was finished with others is run again."""
    digest = hashlib.sha256(f"{stage} {device}".encode() + paths.params.read_bytes())
    for source in (*sorted((ROOT / "src").rglob("*.py")), ROOT / "pipelines" / f"{stage}.py"):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _limited(command: Sequence[str], seconds: float, root: Path) -> int | None:
    """A command's exit code, or None where the time ran out: then it and its children are killed, as stages allow."""
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(paths)}
    with subprocess.Popen(command, cwd=root, env=environment, process_group=0) as process:
        try:
            return process.wait(max(0.0, seconds))
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                return None
            raise


app = typer.Typer(no_args_is_help=True, add_completion=False, help="Heavy stages on a bare machine.")

PresetName = Annotated[str, typer.Option(help="Name of a folder in presets/.")]
Settings = Annotated[list[Setting], typer.Option("--setting", help="Which of the two; both by default.")]
Root = Annotated[Path, typer.Option(help="The checkout whose results these are.")]
BOTH = list(Setting)


@app.command()
def run(
    preset: PresetName = "paper",
    setting: Settings = BOTH,
    minutes: Annotated[float, typer.Option(help="Stop after this time; give the command again to go on.")] = 9.0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    root: Root = ROOT,
) -> None:
    """Run a preset's heavy stages and clusterings, one after the other, until they are done or the time is over.

    Exits with 75 where there is more to do, with a stage's own code where one fails.
    """
    end, graph = time.monotonic() + 60 * minutes, Graph(_preset(preset, root))
    for name in setting:
        path = root / graph.report(name)
        report: dict[str, Any] = read_json(path) if path.is_file() else {}
        report.setdefault("stages", {})
        for step in STEPS:
            stage = f"{name.value}_{step}"
            mark, seconds = _fingerprint(graph.paths, stage, device), 0.0
            known = report["stages"].get(stage, {})
            if known.get("fingerprint") == mark:
                if known["finished"] and all((root / out).exists() for out in graph.outputs(stage)):
                    continue
                seconds = known["seconds"]
            command = [sys.executable, str(ROOT / "pipelines" / f"{stage}.py"), "--params", str(graph.paths.params)]
            if step != STEPS[-1]:
                command += ["--device", device]
            typer.echo(f"{stage}: {end - time.monotonic():.0f} s left", err=True)
            started = time.monotonic()
            code = _limited(command, end - started, root)
            seconds += time.monotonic() - started
            report["stages"][stage] = {"seconds": round(seconds, 1), "finished": code == 0, "fingerprint": mark}
            write_json(path, report | {"machine": _machine(device)})
            if code is None:
                typer.echo(f"{stage}: the time is over; give the same command again", err=True)
                raise typer.Exit(UNFINISHED)
            if code:
                raise typer.Exit(code)
    typer.echo("all done", err=True)


def _files(root: Path, names: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Every file of the outputs by its path from the root, in a fixed order."""
    for name in sorted(names):
        path = root / name
        if not path.exists():
            raise PolcaError(f"{path}: no such result: run the stage that writes it first")
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                yield file.relative_to(root).as_posix(), file


@app.command()
def pack(
    content: Annotated[Content, typer.Argument(help="inputs: text and tags; results: what report and figures need.")],
    output: Annotated[Path, typer.Argument(help="Folder for part_1.zip, part_2.zip, …")],
    preset: PresetName = "paper",
    setting: Settings = BOTH,
    mebibytes: Annotated[float, typer.Option(help="Largest size of a part.")] = 15.0,
    root: Root = ROOT,
) -> None:
    """Pack what must travel between the machines into archives of a limited size; equal files give equal bytes."""
    graph, limit = Graph(_preset(preset, root)), int(mebibytes * 2**20)
    parts: list[list[tuple[str, Path]]] = [[]]
    sizes = [0]
    for name, path in _files(root, graph.content(content, setting)):
        size = len(_deflated(path)) + 2 * len(name.encode()) + 256
        if size > limit:
            raise PolcaError(f"{path}: {size / 2**20:.1f} MiB when packed: raise --mebibytes")
        if sizes[-1] + size > limit:
            parts.append([])
            sizes.append(0)
        parts[-1].append((name, path))
        sizes[-1] += size
    for number, part in enumerate(parts, 1):
        with writing(output / f"part_{number}.zip") as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name, path in part:
                archive.writestr(zipfile.ZipInfo(name, DATE), path.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    typer.echo(f"{sum(map(len, parts))} files in {len(parts)} parts, {sum(sizes) / 2**20:.1f} MiB", err=True)


def _deflated(path: Path) -> bytes:
    import zlib

    return zlib.compress(path.read_bytes(), 9)


def _upwards(name: PurePosixPath) -> list[str]:
    """A path and the folders that it is in."""
    return [str(name), *map(str, name.parents)]


def _checked(archives: Sequence[Path], wanted: Sequence[str]) -> Iterator[tuple[zipfile.ZipFile, zipfile.ZipInfo]]:
    """Members of the archives, each one of the files wanted, or in a folder that is.

    Raises:
        PolcaError: an archive is missing or damaged, or holds anything else.
    """
    for path in archives:
        try:
            archive = zipfile.ZipFile(path)
            damaged = archive.testzip()
        except (OSError, zipfile.BadZipFile, EOFError) as error:
            raise PolcaError(f"{path}: no readable archive ({type(error).__name__}): pack it again") from error
        if damaged is not None:
            raise PolcaError(f"{path}: {damaged} is damaged: pack it again")
        for member in archive.infolist():
            name = PurePosixPath(member.filename)
            # Outputs with a suffix are files, the others folders.
            own = any(out in wanted and bool(PurePosixPath(out).suffix) == (out == str(name)) for out in _upwards(name))
            if not own or ".." in name.parts or str(name) != member.filename:
                raise PolcaError(f"{path}: holds {member.filename!r}, which no stage packed here writes: pack it again")
            yield archive, member


@app.command()
def unpack(
    archives: Annotated[list[Path], typer.Argument(help="All parts.")],
    content: Annotated[Content, typer.Option(help="What they hold.")] = Content.RESULTS,
    preset: PresetName = "paper",
    setting: Settings = BOTH,
    root: Root = ROOT,
) -> None:
    """Put packed files in their places, replacing what is there; nothing is changed where a part is bad or missing."""
    wanted = Graph(_preset(preset, root)).content(content, setting)
    members = list(_checked(archives, wanted))
    found = {member.filename for _, member in members}
    for out in wanted:
        if not any(name == out or name.startswith(f"{out}/") for name in found):
            raise PolcaError(f"{out}: in none of the archives: name all parts, or choose with --setting")
    for out in wanted:
        with writing(root / out) as temporary:
            for archive, member in members:
                if member.filename == out:
                    temporary.write_bytes(archive.read(member))
                elif member.filename.startswith(f"{out}/"):
                    target = temporary / member.filename.removeprefix(f"{out}/")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(member))
    typer.echo(f"{len(members)} files; make report PRESET={preset} makes tables, figures and report", err=True)


def main() -> None:
    """Entry point: bad input ends in one line and exit code 1."""
    try:
        app()
    except PolcaError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
