"""Results of `polca analyze`, read from their folder, and clustered again with other options."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from polca.errors import PolcaError
from polca.external.analysis import Analysis
from polca.external.analyze import analysis_of
from polca.external.directions import read_directions
from polca.external.kept import WHOLE_BASIS
from polca.external.settings import AnalysisSettings, planned
from polca.external.token_texts import TokenTexts
from polca.machine.files import read_json
from polca.method.bases import Basis
from polca.method.projections import Projections

AGAIN = "run polca analyze again"

_T = TypeVar("_T")


def read_result(read: Callable[[Path], _T], path: Path) -> _T:
    """What `read` gives, with the way out that fits these files."""
    try:
        return read(path)
    except (PolcaError, OSError) as error:
        # Every message is "file: what: way out", and the readers' ways out are of a preset's stages.
        what = str(error).removeprefix(f"{path}: ").rpartition(": ")[0] or type(error).__name__
        raise PolcaError(f"{path}: {what}: {AGAIN}") from error


def read_summary(directory: Path) -> dict[str, Any]:
    """The `summary.json` of a folder.

    Raises:
        PolcaError: there is none, or it is damaged.
    """
    if not (directory / "summary.json").is_file():
        raise PolcaError(
            f"{directory}: no summary.json: not a folder that polca analyze wrote, or not finished: name that folder, "
            f"or {AGAIN}"
        )
    return read_result(read_json, directory / "summary.json")


def settings_of(path: Path, projections: Projections) -> AnalysisSettings:
    """The settings of `summary.json`.

    Raises:
        PolcaError: it holds none, or is of other projections.
    """
    summary = read_result(read_json, path)
    try:
        # Before there was a choice, raw trajectories were clustered.
        settings = AnalysisSettings(**{"standardise": False, **summary["settings"]})
    except (KeyError, TypeError, PolcaError) as error:
        raise PolcaError(f"{path}: holds no settings of an analysis ({error}): {AGAIN}") from error
    if not isinstance(settings.flat_step, int | None):
        raise PolcaError(f"{path}: flat_step is {settings.flat_step!r}, not a step: {AGAIN}")
    steps, tokens = projections.steps.tolist(), projections.losses.shape[1]
    if (summary.get("steps"), summary.get("tokens")) != (steps, tokens):
        raise PolcaError(f"{path}: other steps or tokens than those of projections.npz: {AGAIN}")
    return settings


def clustered_again(directory: Path, workers: int = 1, **changed: Any) -> tuple[Analysis, TokenTexts]:
    """The analysis of a folder with other settings of what follows from its projections, and its tokens.

    Args:
        directory: a folder that `write_analysis` wrote.
        changed: fields of `AnalysisSettings`, of the clustering and of eqs. 9 and 10.

    Raises:
        PolcaError: a file is missing, damaged or does not fit the others, or a setting is impossible.
    """
    summary = read_summary(directory)
    projections = read_result(Projections.load, directory / "projections.npz")
    settings = settings_of(directory / "summary.json", projections)
    basis = read_result(Basis.load, directory / WHOLE_BASIS)
    texts = read_result(TokenTexts.load, directory / "tokens.json")
    if len(texts) != projections.losses.shape[1] or len(basis) != projections.gradients.shape[2]:
        raise PolcaError(f"{directory}: basis or tokens are not those of projections.npz: {AGAIN}")
    own = replace(
        settings, basis_steps=None if settings.basis_steps is None else tuple(settings.basis_steps), **changed
    )
    # A Δ that was one interval because none was given stays so; what cannot be is refused before the clustering.
    own = planned(own, projections.steps.tolist(), workers)
    try:
        parameters, fallback = int(summary["parameters"]), summary["fallback"]
    except (KeyError, TypeError, ValueError) as error:
        raise PolcaError(f"{directory / 'summary.json'}: lacks parameters or fallback: {AGAIN}") from error
    # t-SNE would take longer than all the rest.
    earlier = read_directions(directory)
    found = analysis_of(
        projections, basis, own, parameters=parameters, fallback=fallback, workers=workers, earlier=earlier
    )
    return found, texts
