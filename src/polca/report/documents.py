"""Marked blocks of README and docs, made from result files: `make docs`.

A block stands between `<!-- made: NAME -->` and `<!-- end -->`, in a line or over several. `BLOCKS` has the function
that makes each, from the checkout's committed results alone.
"""

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from polca.errors import PolcaError
from polca.machine.checkout import ROOT
from polca.machine.files import dotted, read_csv, read_json, read_params, read_text, write_text
from polca.report import names
from polca.report.claims import ADDITION, Claim
from polca.report.one_run import judged, published_scale
from polca.report.verdicts import NOT_RUN, Run, Validity
from polca.study.paths import PresetPaths
from polca.study.published_run import FROM_ARCHIVES, RunFacts

DOCUMENTS = ("README.md", "docs/*.md")
WIDTH = 120
_BLOCK = re.compile(r"<!-- made: (\w+) -->(\n?)(.*?)<!-- end -->", re.DOTALL)
_ENGLISH = "english_most_vectors_have_a_simple_label"


# --- Result files -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Files:
    """The committed results of a checkout."""

    root: Path

    @property
    def published(self) -> dict[str, Any]:
        """What the paper prints."""
        return read_params(self.root / "data" / "published.yaml")

    def metrics(self, preset: str) -> dict[str, Any]:
        return read_json(self.root / "paper" / preset / "metrics_all.json")

    def benchmark(self, name: str) -> dict[str, Any]:
        """A timed run that came to its end.

        Raises:
            PolcaError: it did not.
        """
        path = self.root / "benchmarks" / f"{name}.json"
        run = read_json(path)
        if run.get("exit_code", 0) != 0:
            raise PolcaError(f"{path}: the run failed (exit code {run['exit_code']}): time it again")
        return run

    def table(self, preset: str, name: str) -> pd.DataFrame:
        return read_csv(self.root / "paper" / preset / "tables" / f"{name}.csv", ["reading", "value", "published"])

    def seeds(self, preset: str = "laptop") -> list[Run]:
        """A preset's seeds, in the reading that figures show."""
        return list(Validity(self.root / "paper" / preset / "validity").seeds("standardised").values())


# --- The verdict table ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A row of the README's verdict table.

    Attributes:
        claim: its name in `claims.py`.
        words: the claim in the README's words.
        paper: its numbers in `published.yaml`, as the path to each; none where the paper does not ask.
        measures: those of the claim that stand beside them.
        form: how the numbers stand in a cell.
    """

    claim: str
    words: str
    paper: tuple[tuple[str, ...], ...]
    measures: tuple[str, ...]
    form: str


_OF_CLUSTERS = "(share of clusters)"
ROWS = (
    Row(
        "polca_isolates_carries",
        "POLCA isolates carries: homogeneity of at least 0.9",
        (("table_01", "polca", "homogeneity"),),
        ("homogeneity",),
        "{}",
    ),
    Row(
        "loss_does_not_isolate_carries",
        "The exact loss and its change do not: homogeneity of at most 0.6",
        (("table_01", "loss", "homogeneity"), ("table_01", "loss_change", "homogeneity")),
        ("loss", "loss_change"),
        "{} and {}",
    ),
    Row(
        "polca_is_purer_than_the_loss",
        "POLCA's best cluster is purer than the exact loss's",
        (("table_01", "polca", "homogeneity"), ("table_01", "loss", "homogeneity")),
        ("polca", "loss"),
        "{} against {}",
    ),
    Row(
        "random_basis_finds_fewer",
        f"Hessian directions find more hidden breakthroughs than random ones {_OF_CLUSTERS}",
        (("table_11", "hessian"), ("table_11", "random")),
        ("polca", "polca_random"),
        "{} against {}",
    ),
    Row(
        "polca_finds_hidden_breakthroughs",
        f"POLCA finds hidden breakthroughs, the exact loss finds none {_OF_CLUSTERS}",
        (("table_09", "polca"), ("table_09", "loss")),
        ("polca", "loss"),
        "{} against {}",
    ),
    Row(_ENGLISH, "English: most kept directions have a cluster with a simple label", (), (), "{}"),
    Row(
        "carries_are_in_the_decomposition",
        "All Hessian directions together tell carries apart better than random ones and the exact loss "
        "(AUC, carries into the 10s)",
        (),
        ("polca, 10s", "polca_random, 10s", "loss, 10s"),
        "{} against {} and {}",
    ),
)
"""The claims that carry the paper; the last one is what its clusters presuppose, and ours."""


def _simple(m: Mapping[str, Any]) -> str:
    return f"{m['english_vectors_with_simple_label']} of {_kept(m)}"


def _kept(m: Mapping[str, Any]) -> int:
    return int(m["english_vectors"] - m["english_dropped_vectors"])


def _paper(row: Row, published: Mapping[str, Any]) -> str:
    if row.claim == _ENGLISH:
        return _simple(published["scalars"])
    numbers = (dotted(published, ".".join(path)) for path in row.paper)
    return row.form.format(*numbers) if row.paper else "not asked"


def _cell(row: Row, claim: Claim, runs: Sequence[Run]) -> str:
    """The claim's numbers: of several runs the least and the largest."""
    spans = []
    for name in row.measures:
        known = [v for v in map(claim.measures[name], runs) if v is not None and not pd.isna(v)]
        ends = dict.fromkeys(f"{v:.2f}" for v in (min(known), max(known))) if known else ["none"]
        spans.append("–".join(ends))
    return row.form.format(*spans)


def _counts(row: Row, run: Run) -> str:
    """Of a claim about shares of clusters, how many of how many."""
    pairs = ((run.hidden[name], run.clusters[name]) for name in row.measures)
    return row.form.format(*(f"{round(share * count)} of {count}" for share, count in pairs))


def _is_cut(files: Files) -> bool:
    """Whether the run at the published scale has fewer steps or vectors than published, as far as is known."""
    facts = RunFacts.load(PresetPaths(FROM_ARCHIVES, files.root))
    return facts is None or facts.tasks["arithmetic"].cut


def verdicts(files: Files) -> Iterator[str]:
    """The verdict table: the paper, the run at the published scale, the laptop run and its seeds."""
    published, large, seeds = files.published, published_scale(files.root), files.seeds()
    laptop = files.table("laptop", "claims")
    laptop = laptop[laptop["reading"].isin(["", "standardised"])].set_index("claim")
    claims = {claim.name: claim for claim in ADDITION}
    scale = "published scale, one run cut short" if _is_cut(files) else "published scale, one run"
    yield f"| claim | paper | {scale} | laptop, five seeds | why |"
    yield "|---|---|---|---|---|"
    for row in ROWS:
        verdict, why = str(laptop.verdict[row.claim]), str(laptop.why[row.claim])
        if row.claim in claims:
            claim = claims[row.claim]
            there, reason = judged(claim, large)
            cells = (
                f"**{there}**: {_counts(row, large) if _OF_CLUSTERS in row.words else _cell(row, claim, [large])}",
                f"**{verdict}**: {_cell(row, claim, seeds)}",
            )
            why = f"Published scale: {reason}. Laptop: {why}."
        else:
            own, other = (_simple(files.metrics(preset)) for preset in ("laptop", "wikipedia"))
            cells = f"**{NOT_RUN}**", f"**{verdict}**: {own} on docstrings, {other} on Wikipedia (one run each)"
            why = f"Laptop: {why}."
        yield f"| {row.words} | {_paper(row, published)} | {' | '.join(cells)} | {why} |"


# --- Sentences --------------------------------------------------------------------------------------------------------


def answer(files: Files, preset: str = "laptop", model: str = "our small `laptop` model") -> Iterator[str]:
    """The one number, with its uncertainty: published, of a preset's seeds, and of the run at the published scale.

    What a checkout has not is left out, so that a preset's page can begin with it.
    """
    published = files.published["table_01"]["polca"]["homogeneity"]
    said = [f"In the paper {100 * published:.0f} % of the tokens of POLCA's best cluster have a carry."]
    found = pd.Series([run.best["polca"][0] for run in files.seeds(preset) if "polca" in run.best], dtype=float)
    if len(found):
        said.append(
            f"In {model} it is {100 * found.mean():.0f} % (standard deviation {100 * found.std():.0f} %, range "
            f"{100 * found.min():.0f} to {100 * found.max():.0f} %, {len(found)} seeds)."
        )
    if (files.root / "paper" / "published_scale").is_dir():
        large = published_scale(files.root).best["polca"][0]
        cut = ", which was cut short," if _is_cut(files) else ""
        said.append(f"In one run at the published size{cut} it is {100 * large:.0f} %.")
    yield " ".join(said)


def late(files: Files) -> Iterator[str]:
    """Whether the clusters with a hidden breakthrough are the purest of the run at the published scale."""
    table = read_csv(files.root / "paper" / "published_scale" / "clusters.csv")
    own = table[(table["reading"] == "standardised") & table["eligible"].astype(bool)]

    def hidden_first(analysis: str) -> str:
        """Homogeneities of an analysis' hidden clusters where they are its purest; empty where not, or without any."""
        ranked = own[own["analysis"] == analysis].sort_values("homogeneity", ascending=False, kind="stable")
        count = int(ranked["hidden"].sum())
        first = ranked.head(count)
        shares = [f"{100 * share:.0f}" for share in first["homogeneity"]]
        return f"{' and '.join(shares)} %" if count and first["hidden"].all() else ""

    polca, random, loss = (hidden_first(name) for name in ("polca", "polca_random", "loss"))
    if not polca or loss:
        yield "In that run the clusters with a hidden breakthrough are not POLCA's purest, or not POLCA's alone."
        return
    published = files.published["table_10"]
    said = [
        "**Carries do come late in that run, as the paper says.** POLCA's clusters with a *hidden* breakthrough (one",
        f"after the mean loss became flat) are its purest: {polca} of their tokens have a carry.",
        "The exact loss has no such cluster.",
    ]
    if random:
        said.append(f"But random directions show the same ({random}).")
    best, of_random = (published[basis][0][0] for basis in ("hessian", "random"))
    said.append(f"Random directions come close in the paper, too: a homogeneity of {of_random} against {best}.")
    yield " ".join(said)


def _not_run(files: Files) -> str:
    """What the run at the published scale lacks, as a sentence; empty where that is not known, or nothing."""
    facts = RunFacts.load(PresetPaths(FROM_ARCHIVES, files.root))
    if facts is None:
        return ""
    lacking = [names.numbers(name) for name in facts.tasks["arithmetic"].missing]
    if "english" not in facts.tasks:
        lacking.append("English")
    return f"It lacks {', '.join(lacking)}. " if lacking else ""


def compared(files: Files) -> Iterator[str]:
    """The scales that the verdict table compares."""
    paper, folder = files.published, files.root / "paper" / "published_scale"
    steps = int(read_csv(folder / "specification.csv")["last_step"].max())
    vectors = int(read_csv(folder / "best.csv")["vectors"].max())
    training, basis = (files.table("laptop", f"table_{n}").set_index("setting")["value"] for n in ("02", "03"))
    yield (
        f"The run at the published scale has the paper's model and data, but {steps:,} of its "
        f"{paper['table_02']['steps']:,} steps and {vectors} of its {paper['table_03']['basis_vectors']} directions. "
        f"{_not_run(files)}"
        f"The `laptop` model has a width of {training['width']} (paper: {paper['table_02']['width']}), "
        f"{int(training['steps']):,} steps and {basis['basis checkpoints T']} directions."
    )


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
    fine = [f"{m['english_polca_fine_vectors_with_simple_label']} of {_kept(m)}" for m in columns]
    yield "| | paper | `laptop` | `wikipedia` |"
    yield "|---|---|---|---|"
    yield row("loss of the evaluation tokens, last checkpoint (nats)", "", *each("loss_last", ".2f"))
    yield row("the same of a model that knows only their frequencies", "", *each("target_unigram_entropy", ".2f"))
    yield row("passes over the training text", "1", *each("corpus_epochs"))
    yield row("vectors dropped as rising", of_vectors, *of("dropped_vectors", "vectors"))
    yield row("kept vectors with a simply labelled cluster", _simple(published), *map(_simple, columns))
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
