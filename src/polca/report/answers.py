"""The answer that README, reports' pages and docs begin with: a number, a verdict table, and how the scales compare.

All of it is made from the checkout's committed results.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from polca.errors import PolcaError
from polca.machine.files import dotted, read_csv, read_json, read_params
from polca.report import names
from polca.report.claims import ADDITION, Claim
from polca.report.one_run import judged, published_scale
from polca.report.verdicts import NOT_RUN, Run, Validity
from polca.study.paths import PresetPaths
from polca.study.published_run import FROM_ARCHIVES, RunFacts

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


def simply_labelled(m: Mapping[str, Any]) -> str:
    """Of the kept directions of English, how many have a simply labelled cluster."""
    return f"{m['english_vectors_with_simple_label']} of {kept_directions(m)}"


def kept_directions(m: Mapping[str, Any]) -> int:
    """Of English: those that the filter keeps."""
    return int(m["english_vectors"] - m["english_dropped_vectors"])


def _paper(row: Row, published: Mapping[str, Any]) -> str:
    if row.claim == _ENGLISH:
        return simply_labelled(published["scalars"])
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
            own, other = (simply_labelled(files.metrics(preset)) for preset in ("laptop", "wikipedia"))
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
