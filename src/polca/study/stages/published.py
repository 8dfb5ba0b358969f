"""Runs that were made on a GPU, put where the stages after `trajectories` read them."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.machine.files import read_json, reading, write_csv, write_json, write_npz, writing
from polca.method.breakthrough import fall_made, flat_step
from polca.method.completeness import compare_trajectories, ratio
from polca.method.decomposition import Trajectories
from polca.method.projections import Projections
from polca.study.archive import compress
from polca.study.paths import TaskPaths
from polca.study.published import TEXT, PublishedEnglish, PublishedScale
from polca.study.published_run import TaskFacts
from polca.study.stages.signatures import change_of
from polca.study.stages.trajectories import MOMENTS
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.arithmetic.task import ArithmeticTask
from polca.tasks.english.task import EnglishTask
from polca.tasks.english.text import load_tokenizer
from polca.tasks.settings import TaskSettings
from polca.tasks.transformer import parameter_count
from polca.typing import Reading

PublishedRun = PublishedScale | PublishedEnglish
ORDERS = {"polca_first_order": "none", "polca": "trapezoid"}
"""The analyses of Table 12 with their form of the second-order term; every run of addition has both."""
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


def run_facts(task: ArithmeticTask | EnglishTask, folder: Path, root: Path, run: PublishedRun) -> TaskFacts:
    """What a run, read from `folder` in the checkout `root`, has of what the preset asks for, whose task is given."""
    settings, names, summary = task.settings, task.analyses, _summary(folder)
    steps, vectors = int(run.steps[-1]), len(run.archives["polca"].vector_steps)
    archived = kept_analyses(task, run)
    tables = scored_tables(folder, "standardised")
    own = set(tables["vectors"]["analysis"]) - archived.keys() if tables else set()
    sample = int(summary.get("hessian_examples", settings.basis.hessian_examples))
    found = {
        "seed": (int(summary.get("seed", settings.seed)), settings.seed),
        "training.steps": (steps, settings.training.steps),
        "basis.vectors": (vectors, settings.basis.vectors),
        "basis.hessian_examples": (sample, settings.basis.hessian_examples),
        "polca.interval": (int(run.steps[1] - run.steps[0]), settings.polca.interval),
    }
    if isinstance(run, PublishedScale):
        found["data.evaluation_examples"] = (len(run.tokens), task.evaluation_sequences)
    return TaskFacts(
        folder=folder.relative_to(root).as_posix(),
        steps=steps,
        of_steps=settings.training.steps,
        vectors=vectors,
        of_vectors=settings.basis.vectors,
        hessian_examples=sample,
        of_hessian_examples=settings.basis.hessian_examples,
        archived=tuple(name for name in names if name in archived),
        scored=tuple(name for name in names if name in own),
        missing=tuple(name for name in names if name not in archived.keys() | own),
        changed={f"{task.name}.{name}": ours for name, (ours, asked) in found.items() if ours != asked},
    )


def kept_analyses(task: ArithmeticTask | EnglishTask, run: PublishedRun) -> dict[str, str]:
    """Of the task's analyses those whose trajectories a run gives, each with the one that it kept or that losses give.

    Analyses that differ in their clustering alone share their trajectories.
    """
    kept, found = {"loss", "loss_change", *run.archives}, {}
    for name, one in task.analyses.items():
        sources = [other for other in (name, *task.analyses) if other in kept and task.analyses[other] == one]
        if sources:
            found[name] = sources[0]
    return found


def known_facts(run: PublishedRun, settings: TaskSettings, orders: Mapping[str, Trajectories]) -> dict[str, Any]:
    """The numbers of `trajectories.known_facts` that trajectories and losses give.

    Completeness is what all vectors allocate together, over the true change of the mean loss.

    Args:
        orders: trajectories of `ORDERS`, as far as the run has them; POLCA's always.
    """
    breaks, means = settings.breakthroughs, run.losses.mean(axis=1, dtype=np.float64)
    shares = {}
    for name, form in ORDERS.items():
        if name in orders:
            allocated = float(orders[name].values[:, :, -1].mean(axis=1, dtype=np.float64).sum())
            shares[form] = {"fraction": ratio(allocated, float(means[-1] - means[0])), "allocated": allocated}
    return {
        "tokens": run.losses.shape[1],
        "checkpoints": len(run.steps),
        "vectors": len(orders["polca"].values),
        "flat_step": flat_step(run.losses, run.steps, breaks.fall),
        "delta": breaks.delta,
        "published_flat_step_fall": None
        if breaks.published is None
        else fall_made(run.losses, run.steps, breaks.published.flat_step),
        "second_order": settings.polca.second_order,
        "eigenvalue": settings.polca.eigenvalue,
        "loss_first": float(means[0]),
        "loss_last": float(means[-1]),
        "completeness": shares,
    }


def addition_facts(run: PublishedScale, task: ArithmeticTask, orders: Mapping[str, Trajectories]) -> dict[str, Any]:
    """Addition's own numbers: losses by place, and Table 12."""
    compared = compare_trajectories(*(orders[name] for name in ORDERS))
    return {
        "parameters": parameter_count(task.model()),
        "loss_last_by_place": {
            place: float(run.losses[-1][run.place == i].mean(dtype=np.float64)) for i, place in enumerate(PLACES)
        },
        "table_12": {name: getattr(compared, name) for name in ("cosine_similarity", "l2_norm", "relative_l2_norm")},
    }


def losses_alone(run: PublishedRun) -> Projections:
    """A run's exact losses as projections on no vectors, from which a task takes its facts of losses."""
    points, tokens = run.losses.shape
    return Projections(
        steps=run.steps,
        losses=run.losses,
        gradients=np.zeros((points, tokens, 0), np.float32),
        movements=np.zeros((points - 1, 0), np.float32),
        vector_steps=np.zeros(0, np.int64),
        eigenvalues=np.zeros(0, np.float32),
    )


def write_text_of(run: PublishedEnglish, task: EnglishTask, folder: Path) -> None:
    """Write the text of a run where its task reads it.

    Raises:
        PolcaError: damaged, or of another preset; names the file of the run.
    """
    for name, content in run.text.items():
        with writing(task.file(name)) as temporary:
            temporary.write_bytes(content)
    try:
        task.tagged_text(run.labels)
        load_tokenizer(task.file("tokenizer.json"))
        known = read_json(task.file("corpus.json"))
    except PolcaError as error:
        raise PolcaError(
            f"{folder / TEXT}: damaged, or of another preset: copy the run's folder again ({error})"
        ) from error
    if known.get("evaluation_tokens") != (tokens := run.losses.shape[1]):
        raise PolcaError(f"{folder / TEXT}: not the text of the {tokens} tokens of losses: copy the run's folder again")


def import_run(task: ArithmeticTask | EnglishTask, folder: Path, run: PublishedRun, out: TaskPaths) -> None:
    """Write a run's archives, labels, losses and facts to the files that the stages after `trajectories` read.

    Args:
        task: of the run, see `published_run`.
        folder: of which `run` was read.

    Raises:
        PolcaError: English text that is damaged, or of another preset.
    """
    loss = Trajectories("loss", np.ascontiguousarray(run.losses.T[None]), run.steps, projected=False)
    exact = {own.name: compress(own, 0) for own in (loss, change_of(loss))}
    moments: dict[str, NDArray[Any]] = {}
    orders: dict[str, Trajectories] = {}
    with writing(out.trajectories) as written:
        for name, source in kept_analyses(task, run).items():
            archive = exact.get(source) or run.archives[source]
            archive.save(written / f"{name}.npz")
            if source in exact:
                continue
            found = archive.trajectories()
            if name in ORDERS:
                orders[name] = found
            if np.array_equal(found.steps, run.steps):
                at = [round(share * (len(found.steps) - 1)) for share in MOMENTS]
                moments["steps"] = found.steps[at]
                moments[name] = np.moveaxis(found.values[:, :, at], 2, 0)
        known = known_facts(run, task.settings, orders)
        if isinstance(run, PublishedEnglish):
            assert isinstance(task, EnglishTask)
            write_text_of(run, task, folder)
            known |= task.projection_facts({"hessian": losses_alone(run)})
        else:
            assert isinstance(task, ArithmeticTask)
            known |= addition_facts(run, task, orders)
        own_facts = {name: value for name, value in _summary(folder).items() if name in _OWN_FACTS and value}
        write_json(written / out.facts.name, known | own_facts)
    write_npz(out.labels, run.labels)
    write_npz(out.losses, {"steps": run.steps, "losses": run.losses})
    write_npz(out.projected_losses, moments)
    steps = np.arange(min(int(run.steps[-1]), len(run.training_loss)))
    rates = [task.settings.training.rate(int(step)) for step in steps]
    log = {"step": steps, "loss": run.training_loss[: len(steps)], "learning_rate": rates}
    write_csv(out.training_log, pd.DataFrame(log))
