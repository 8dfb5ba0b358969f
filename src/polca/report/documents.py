"""Marked blocks of README and docs, made from result files: `make docs`.

A block stands between `<!-- made: NAME -->` and `<!-- end -->`, in a line or over several. `BLOCKS` has the function
that makes each, from the checkout's committed results alone.
"""

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from polca.errors import PolcaError
from polca.machine.checkout import ROOT
from polca.machine.files import read_text, write_text
from polca.report import names
from polca.report.answers import Files, answer, compared, kept_directions, late, simply_labelled, verdicts

DOCUMENTS = ("README.md", "docs/*.md")
WIDTH = 120
_BLOCK = re.compile(r"<!-- made: (\w+) -->(\n?)(.*?)<!-- end -->", re.DOTALL)


# --- Times of runs ---------------------------------------------------------------------------------------------------


def _needs(run: Mapping[str, Any]) -> str:
    """Minutes, memory and machine of a timed run."""
    minutes, memory = run["wall_seconds"] / 60, run["peak_memory_mib"] / 1024
    return f"takes {minutes:.0f} minutes and {memory:.1f} GiB of memory on {run['cores']} cores ({run['processor']})"


def measured(files: Files) -> Iterator[str]:
    """What `make repro` takes."""
    run = files.benchmark("laptop_run")
    yield f"`make repro` {_needs(run)}, from a fresh clone, and {run['disk_mib'] / 1024:.1f} GiB of disk."


def redrawn(files: Files) -> Iterator[str]:
    """What `make repro PRESET=paper` takes, without the installation."""
    yield f"With the packages installed, and `data/published/cut`, this {_needs(files.benchmark('paper_run'))}."


def validated(files: Files) -> Iterator[str]:
    """What `make validity` takes after it."""
    run = files.benchmark("validity_run")
    seeds, bases = (run["stages"][f"validity_{name}"] / 60 for name in ("seeds", "bases"))
    wall = run["wall_seconds"] / 60
    if run["beside_other_work"]:
        yield (
            f"`make validity` keeps one core busy for {run['cpu_seconds'] / 60:.0f} minutes, on the same machine. With "
            f"{run['cores']} cores, and beside other work, it took {wall:.0f} minutes, the seeds {seeds:.0f} of them."
        )
    else:
        yield (
            f"`make validity` takes {wall:.0f} minutes more on the same machine. The seeds take {seeds:.0f} of them, "
            f"the bases {bases:.0f}."
        )


def analyzed(files: Files) -> Iterator[str]:
    """What `polca analyze` takes."""
    run = files.benchmark("analyze_neox")
    yield (
        f"A GPT-NeoX (Pythia's architecture) of {run['parameters'] / 1e6:.0f} million parameters takes "
        f"{run['wall_seconds'] / 60:.0f} minutes and {run['peak_memory_mib'] / 1024:.1f} GiB of memory on one core, "
        f"with {run['checkpoints']} checkpoints, {run['tokens']:,} tokens and {run['vectors']} vectors. "
        f"`polca cluster` then reads its projections another way in {run['cluster_seconds']:.0f} seconds."
    )


# --- The long tables of docs/ -----------------------------------------------------------------------------------------


def claims(files: Files) -> Iterator[str]:
    """Every claim at the laptop scale, in both readings."""
    laptop = files.table("laptop", "claims")
    raw: dict[Any, Any] = laptop[laptop["reading"] == "raw"].set_index("claim").to_dict("index")
    yield "| claim | numbers | standardised | raw |"
    yield "|---|---|---|---|"
    for r in laptop[laptop["reading"].isin(["", "standardised"])].itertuples():
        other = "no cluster" if r.reading else "the same"
        if r.claim in raw:
            other = f"**{raw[r.claim]['verdict']}**: {raw[r.claim]['why']}"
        yield (
            f"| {names.claim(str(r.claim), str(r.sentence))} "
            f"| {names.numbers(str(r.statistic))} | **{r.verdict}**: {r.why} | {other} |"
        )


def english(files: Files) -> Iterator[str]:
    """The English setting beside the published values."""
    published, columns = files.published["scalars"], [files.metrics(p) for p in ("laptop", "wikipedia")]

    def row(name: str, paper: str, *values: str) -> str:
        return f"| {name} | {paper} | {' | '.join(values)} |"

    def each(key: str, form: str = ".3g") -> list[str]:
        values = (m[f"english_{key}"] for m in columns)
        return ["none" if value is None else f"{value:{form}}" for value in values]

    def of(part: str, whole: str) -> list[str]:
        return [f"{m[f'english_{part}']} of {m[f'english_{whole}']}" for m in columns]

    def per_cent(shares: Sequence[float]) -> list[str]:
        return [f"{100 * share:.0f} %" for share in shares]

    dropped = per_cent([m["english_mean_dropped_tokens"] / m["english_tokens"] for m in (published, *columns)])
    of_vectors = f"{published['english_dropped_vectors']} of {published['english_vectors']}"
    fine = [f"{m['english_polca_fine_vectors_with_simple_label']} of {kept_directions(m)}" for m in columns]
    yield "| | paper | `laptop` | `wikipedia` |"
    yield "|---|---|---|---|"
    yield row("loss of the evaluation tokens, last checkpoint (nats)", "", *each("loss_last", ".2f"))
    yield row("the same of a model that knows only their frequencies", "", *each("target_unigram_entropy", ".2f"))
    yield row("passes over the training text", "1", *each("corpus_epochs"))
    yield row("vectors dropped as rising", of_vectors, *of("dropped_vectors", "vectors"))
    yield row("kept vectors with a simply labelled cluster", simply_labelled(published), *map(simply_labelled, columns))
    yield row("the same with finer clusters (ours)", "", *fine)
    yield row("tokens dropped as rising, per kept vector", *dropped)
    yield row(
        "share of the other tokens that HDBSCAN leaves out",
        "",
        *per_cent([m["english_polca_outlier_fraction"] for m in columns]),
    )
    yield row("POLCA clusters with a simple label", "", *of("polca_clusters_simple", "polca_clusters"))
    yield row("finer POLCA clusters with a simple label", "", *of("polca_fine_clusters_simple", "polca_fine_clusters"))
    yield row("exact-loss clusters with a simple label", "", *of("loss_clusters_simple", "loss_clusters"))
    finer = of("loss_fine_clusters_simple", "loss_fine_clusters")
    yield row("finer exact-loss clusters with a simple label", "", *finer)
    yield row("finer POLCA clusters with a hidden breakthrough", "", *each("polca_fine_hidden_fraction", ".2f"))
    yield row("share of the loss change that the basis sees", "", *each("completeness_trapezoid_fraction"))


_SCALES = {
    "table_02": ("parameters", "width", "steps", "training tokens", "learning rate", "seed"),
    "table_03": ("basis checkpoints T", "evaluation tokens", "POLCA interval"),
    "table_04": ("min_cluster_size", "τ", "Δ"),
    "table_05": ("corpus", "parameters", "width", "vocabulary", "context", "steps", "training tokens", "seed"),
    "table_06": ("basis checkpoints T", "evaluation tokens", "POLCA interval"),
    "table_07": ("min_cluster_size",),
}
"""Rows of Tables 2–7 that docs/presets.md shows."""


def scales(files: Files) -> Iterator[str]:
    """What differs between the paper and the laptop preset."""
    yield "| setting | parameter | paper | `laptop` |"
    yield "|---|---|---|---|"
    for table, parameters in _SCALES.items():
        about = "addition" if table < "table_05" else "English"
        rows = files.table("laptop", table).replace("", "not given").set_index("setting")
        for name in parameters:
            values = (str(rows[column][name]) for column in ("published", "value"))
            published, own = (f"{int(v):,}" if v.isdigit() else v for v in values)
            if (table, name) == ("table_03", "POLCA interval"):  # the paper contradicts itself
                published += f" (Table 3), {files.published['table_03']['polca_interval_in_text']} (its text, twice)"
            yield f"| {about} | {name} | {published} | {own} |"


SHOWN: tuple[tuple[str, str, tuple[str, ...], tuple[int | str, ...]], ...] = (
    ("Figures 1, 2", "figures", ("schematic.py", "addition.py"), (1, 2)),
    ("Figures 3, 6, 7", "figures", ("losses.py",), (3, 6, 7)),
    ("Figures 4, 8", "figures", ("vectors.py",), (4, 8)),
    ("Figures 5, 9–11", "figures", ("english.py",), (5, 9, 10, 11)),
    (
        "Figures D1–D4, ours",
        "figures",
        ("separation.py", "directions.py", "breakthroughs.py"),
        ("D1", "D2", "D3", "D4"),
    ),
    ("Tables 2–7", "tables", ("parameters.py",), (2, 3, 4, 5, 6, 7)),
    ("Tables 1, 8–12", "tables", ("clusters.py",), (1, 8, 9, 10, 11, 12)),
)
"""What is shown, its stage and modules, and the numbers of the figures or tables."""


def stages(files: Files) -> Iterator[str]:
    """Where each figure and table is made, and the seconds that its stage takes."""
    seconds = files.benchmark("laptop_run")["stages"]
    yield "| figure or table | stage | module | seconds of the stage |"
    yield "|---|---|---|--:|"
    for what, stage, modules, _ in SHOWN:
        paths = ", ".join(f"`{name}`" for name in (f"src/polca/report/{stage}/{modules[0]}", *modules[1:]))
        yield f"| {what} | `{stage}` | {paths} | {seconds[stage]:.0f} |"


# --- Documents --------------------------------------------------------------------------------------------------------

BLOCKS: Mapping[str, Callable[[Files], Iterator[str]]] = {
    made.__name__: made
    for made in (
        answer,
        late,
        verdicts,
        compared,
        measured,
        redrawn,
        validated,
        analyzed,
        claims,
        english,
        scales,
        stages,
    )
}


def _made(match: re.Match[str], files: Files, name: str) -> str:
    block, end, _ = match.groups()
    if block not in BLOCKS:
        raise PolcaError(f"{name}: unknown block {block!r}: known are {', '.join(BLOCKS)}")
    lines = list(BLOCKS[block](files))
    # A table's rows must stay lines; a paragraph of its own is wrapped, a sentence within a line is not.
    text = textwrap.fill(lines[0], WIDTH, break_long_words=False) if end and len(lines) == 1 else "\n".join(lines)
    return f"<!-- made: {block} -->{end}{text}{end}<!-- end -->"


def filled(text: str, root: Path = ROOT, name: str = "document") -> str:
    """The text with its blocks made anew.

    Raises:
        PolcaError: a block is unknown, or a result file is missing or damaged.
    """
    return _BLOCK.sub(partial(_made, files=Files(root), name=name), text)


def documents(root: Path = ROOT) -> list[Path]:
    """README and the pages of docs/."""
    return sorted(path for pattern in DOCUMENTS for path in root.glob(pattern))


def main() -> None:
    """Make the blocks of all documents anew."""
    for path in documents():
        old = read_text(path)
        if (new := filled(old, name=path.name)) != old:
            write_text(path, new)
            print(f"{path.relative_to(ROOT)}: made anew")


if __name__ == "__main__":
    main()
