"""A run that was made on a GPU, put where the stages after `trajectories` read it."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.machine.files import read_json, reading, write_csv, write_json, write_npz, writing
from polca.method.breakthrough import fall_made, flat_step
from polca.method.completeness import compare_trajectories, ratio
from polca.method.decomposition import Trajectories
from polca.study.archive import compress
from polca.study.paths import TaskPaths
from polca.study.published import PublishedScale, read_published_scale
from polca.study.published_run import RunFacts
from polca.study.settings import Preset
from polca.study.stages.signatures import change_of
from polca.study.stages.trajectories import MOMENTS
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.settings import TaskSettings
from polca.tasks.transformer import parameter_count
from polca.typing import Reading

ORDERS = ("polca_first_order", "polca")
"""The analyses of Table 12, which every run has."""
_OWN_FACTS = ("app_c", "completeness", "table_12")
"""Facts of a run's `summary.json` that it made from projections."""


def scored_tables(folder: Path, of: Reading) -> dict[str, pd.DataFrame]:
    """Tables of all analyses that the run clustered itself, by name (`clusters.zip`); none in a folder without them.

    Raises:
        PolcaError: damaged.
    """
    path = folder / "clusters.zip"
    if not path.is_file():
        return {}
    with reading(path, "a readable zip of tables", Exception), zipfile.ZipFile(path) as packed:
        names = [name for name in packed.namelist() if name.startswith(f"{of}/") and name.endswith(".csv")]
        return {Path(name).stem: pd.read_csv(io.BytesIO(packed.read(name))) for name in names}


def _summary(folder: Path) -> dict[str, Any]:
    """What the run says of itself; the first run has no such file."""
    path = folder / "summary.json"
    return read_json(path) if path.is_file() else {}


def run_facts(preset: Preset, folder: Path, run: PublishedScale) -> RunFacts:
    """What a run, read from `folder`, has of what the preset asks for."""
    task = preset.arithmetic()
    settings, names = task.settings, task.analyses
    steps, vectors = int(run.steps[-1]), len(run.archives["polca"].vector_steps)
    archived = {"loss", "loss_change", *run.archives}
    tables = scored_tables(folder, "standardised")
    own = set(tables["vectors"]["analysis"]) - archived if tables else set()
    found = {
        "seed": (int(_summary(folder).get("seed", settings.seed)), settings.seed),
        "training.steps": (steps, settings.training.steps),
        "basis.vectors": (vectors, settings.basis.vectors),
        "polca.interval": (int(run.steps[1] - run.steps[0]), settings.polca.interval),
        "data.evaluation_examples": (len(run.tokens), settings.data.evaluation_examples),
    }
    return RunFacts(
        folder=folder.relative_to(preset.paths.root).as_posix(),
        steps=steps,
        of_steps=settings.training.steps,
        vectors=vectors,
        of_vectors=settings.basis.vectors,
        archived=tuple(name for name in names if name in archived),
        scored=tuple(name for name in names if name in own),
        missing=tuple(name for name in names if name not in archived | own),
        changed={f"arithmetic.{name}": ours for name, (ours, asked) in found.items() if ours != asked},
    )


def known_facts(
    run: PublishedScale, settings: TaskSettings, parameters: int, orders: dict[str, Trajectories]
) -> dict[str, Any]:
    """The numbers of `trajectories.known_facts` that trajectories and losses give.

    Completeness is what all vectors allocate together, over the true change of the mean loss.

    Args:
        parameters: of the model.
        orders: trajectories of `ORDERS`.
    """
    breaks, means = settings.breakthroughs, run.losses.mean(axis=1, dtype=np.float64)
    first, second = (orders[name] for name in ORDERS)
    compared = compare_trajectories(first, second)
    shares = {}
    for form, own in (("none", first), ("trapezoid", second)):
        allocated = float(own.values[:, :, -1].mean(axis=1, dtype=np.float64).sum())
        shares[form] = {"fraction": ratio(allocated, float(means[-1] - means[0])), "allocated": allocated}
    return {
        "tokens": run.losses.shape[1],
        "checkpoints": len(run.steps),
        "vectors": len(first.values),
        "parameters": parameters,
        "flat_step": flat_step(run.losses, run.steps, breaks.fall),
        "delta": breaks.delta,
        "published_flat_step_fall": None
        if breaks.published is None
        else fall_made(run.losses, run.steps, breaks.published.flat_step),
        "second_order": settings.polca.second_order,
        "eigenvalue": settings.polca.eigenvalue,
        "loss_first": float(means[0]),
        "loss_last": float(means[-1]),
        "loss_last_by_place": {
            place: float(run.losses[-1][run.place == i].mean(dtype=np.float64)) for i, place in enumerate(PLACES)
        },
        "table_12": {name: getattr(compared, name) for name in ("cosine_similarity", "l2_norm", "relative_l2_norm")},
        "completeness": shares,
    }


def import_run(preset: Preset, folder: Path, out: TaskPaths) -> RunFacts:
    """Write a run's archives, labels, losses and facts to the files that the stages after `trajectories` read.

    Raises:
        PolcaError: as `read_published_scale`.
    """
    run, task = read_published_scale(folder), preset.arithmetic()
    facts = run_facts(preset, folder, run)
    loss = Trajectories("loss", np.ascontiguousarray(run.losses.T[None]), run.steps, projected=False)
    moments: dict[str, NDArray[Any]] = {}
    orders: dict[str, Trajectories] = {}
    with writing(out.trajectories) as written:
        for own in (loss, change_of(loss)):
            compress(own, 0).save(written / f"{own.name}.npz")
        for name, archive in run.archives.items():
            archive.save(written / f"{name}.npz")
            found = archive.trajectories()
            if name in ORDERS:
                orders[name] = found
            if np.array_equal(found.steps, run.steps):
                at = [round(share * (len(found.steps) - 1)) for share in MOMENTS]
                moments["steps"] = found.steps[at]
                moments[name] = np.moveaxis(found.values[:, :, at], 2, 0)
        known = known_facts(run, task.settings, parameter_count(task.model()), orders)
        own_facts = {name: value for name, value in _summary(folder).items() if name in _OWN_FACTS and value}
        write_json(written / out.facts.name, known | own_facts)
    write_npz(out.labels, {"tokens": run.tokens, "place": run.place, "carry": run.carry})
    write_npz(out.losses, {"steps": run.steps, "losses": run.losses})
    write_npz(out.projected_losses, moments)
    steps = np.arange(min(facts.steps, len(run.training_loss)))
    rates = [task.settings.training.rate(int(step)) for step in steps]
    log = {"step": steps, "loss": run.training_loss[: len(steps)], "learning_rate": rates}
    write_csv(out.training_log, pd.DataFrame(log))
    return facts
