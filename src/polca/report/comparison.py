"""Published values against reproduced ones, number by number, with a tolerance for each kind of number.

Read are `data/published.yaml` and what git holds of a preset's results: `paper/<preset>/tables` and `metrics_all.json`.
A result is judged only where the scale is the paper's, which Tables 2–4 (addition) and 5–7 (English) decide. Of both
readings of trajectories the one that figures show is compared.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from polca.errors import PolcaError
from polca.machine.files import dotted, read_csv, read_json, read_params
from polca.report.headlines import scalars_path
from polca.study.paths import PresetPaths
from polca.study.published_run import as_run
from polca.study.results import PresetResults
from polca.study.settings import Preset
from polca.tasks.arithmetic.scores import SCORES
from polca.typing import Reading

AGREES, DIFFERS, MISSING, OTHER_SCALE = "agrees", "differs", "missing", "other scale"


@dataclass(frozen=True)
class Kind:
    """A kind of number: its tolerance in words and as `agrees(published, reproduced)`, and the reason for it."""

    tolerance: str
    reason: str
    agrees: Callable[[Any, Any], bool]


KINDS: Mapping[str, Kind] = {
    "setting": Kind("equal", "it was chosen, not measured", lambda p, r: bool(p == r)),
    "passes": Kind(
        "at most",
        "one epoch says that nothing is read twice; how much is read, the steps say",
        lambda p, r: float(r) <= float(p),
    ),
    "corpus": Kind(
        "names the dump",
        "Hugging Face calls the published dump 20220301; a text of another name may be another text",
        lambda p, r: "20220301" in r,
    ),
    "step": Kind(
        "within a factor of 2",
        "it follows from the mean loss by a rule of ours, where the paper states a round number",
        lambda p, r: 0.5 * float(p) <= float(r) <= 2 * float(p),
    ),
    "share": Kind(
        "± 0.1",
        "one run each, of other seeds, so no spread is known; best homogeneities of neighbouring strategies in the "
        "published Table 8 lie 0.128 apart or more, from the exact loss's to first-order POLCA's",
        lambda p, r: abs(p - r) <= 0.1 + 1e-12,
    ),
    "cosine": Kind("± 0.01", "the paper calls the curves very similar", lambda p, r: abs(p - r) <= 0.01 + 1e-12),
    "magnitude": Kind(
        "within a factor of 2",
        "an error in nats, which has no natural scale; half or twice is the same order",
        lambda p, r: 0.5 * p <= r <= 2 * p,
    ),
}

ARITHMETIC, ENGLISH = "arithmetic", "english"
PARAMETER_TABLES = {ARITHMETIC: (2, 3, 4), ENGLISH: (5, 6, 7)}
RESULT_TABLES: Mapping[int, tuple[tuple[str, ...], tuple[str, ...]]] = {
    1: (("strategy",), (*SCORES, "fraction_hidden")),
    8: (("strategy", "rank"), SCORES),
    9: (("strategy",), ("fraction_hidden",)),
    10: (("basis", "rank"), SCORES),
    11: (("basis",), ("fraction_hidden",)),
}
"""Tables of shares: the columns that name a row, and those with numbers."""
NOT_COMPARED: Mapping[str, str] = {
    "table_02.hardware": "not a number",
    "table_03.polca_interval_in_text": "accepted beside Table 3's `polca_interval`, which it contradicts",
    "table_04.min_samples_divisor": "the same as `min_samples`",
    "table_06.basis_interval": "times the published number of vectors it exceeds the published steps: no run has both",
    "table_07.min_samples_divisor": "the same as `min_samples`",
    **dict.fromkeys(
        (
            *("readings.fraction_digits", "readings.clusters_of_a_vector"),
            *("readings.figure_04.vector_1", "readings.figure_04.vector_2"),
        ),
        "not printed, but read off figures or tables: evidence for readings, in a table of its own (`readings.csv`)",
    ),
}
"""Published values without a row of their own, with the reason."""

_KIND_OF_PARAMETER = {(4, "τ"): "step", (5, "corpus"): "corpus", (5, "epochs"): "passes"}
_UNCOMPARED = (6, "basis checkpoint every")
_ALSO_IN_TEXT = {(3, "POLCA interval"): "table_03.polca_interval_in_text"}
"""Parameters of which the paper's text gives another value than its table: both are right."""

_OF: Mapping[str, tuple[str, str | None]] = {
    "arithmetic_mean_dropped_tokens": ("arithmetic_tokens", None),
    "english_dropped_vectors": ("english_vectors", None),
    "english_vectors_with_simple_label": ("english_vectors", "english_dropped_vectors"),
    "english_mean_dropped_tokens": ("english_tokens", None),
}
"""Counts that are compared as shares: of the first, less the second."""
_KIND_OF: Mapping[str, str] = {
    "arithmetic_flat_step": "step",
    "arithmetic_vector_2_homogeneity": "share",
    "arithmetic_app_c_rmse_paper_published_subset": "magnitude",
    **dict.fromkeys(_OF, "share"),
}
"""Kinds of the scalars that were measured; the others were chosen (`setting`)."""


@dataclass(frozen=True)
class Comparison:
    """One published number beside ours.

    Attributes:
        setting: `arithmetic` or `english`.
        source: the table, or `text`.
        number: what it is.
        kind: of `KINDS`.
        published, reproduced: as shown; `reproduced` is empty where there is none.
        verdict: `agrees`, `differs`, `missing`, or `other scale`: not judged.
    """

    setting: str
    source: str
    number: str
    kind: str
    published: str
    reproduced: str
    verdict: str


@dataclass(frozen=True)
class PublishedAgainstReproduced:
    """All comparisons of a preset, and by setting those of its Tables 2–7 that are not the paper's."""

    rows: tuple[Comparison, ...]
    other_settings: Mapping[str, tuple[str, ...]]


def _required(path: Path, paths: PresetPaths) -> Path:
    if not path.is_file():
        raise PolcaError(f"{path}: no such file: run `make repro PRESET={paths.name}`")
    return path


def required_table(path: Path, paths: PresetPaths, columns: Sequence[str], as_text: bool = False) -> pd.DataFrame:
    """A table that has `columns`, which are read as text where they are to be shown as they stand.

    Raises:
        PolcaError: it is missing, damaged or lacks a column.
    """
    table = read_csv(_required(path, paths), tuple(columns) if as_text else ())
    if missing := [name for name in columns if name not in table]:
        raise PolcaError(f"{path}: lacks the column {missing[0]!r}: run `make repro PRESET={paths.name}`")
    return table


def _table(paths: PresetPaths, number: int, columns: Sequence[str], as_text: bool = False) -> pd.DataFrame:
    return required_table(paths.tables / f"table_{number:02d}.csv", paths, columns, as_text)


def _part(published: Mapping[str, Any], name: str) -> Any:
    try:
        return dotted(published, name)
    except KeyError as error:
        raise PolcaError(f"data/published.yaml: lacks {name!r}: restore it from the repository") from error


# --- Parameters -------------------------------------------------------------------------------------------------------


def _parameters(paths: PresetPaths, setting: str, published: Mapping[str, Any]) -> Iterator[Comparison]:
    for number in PARAMETER_TABLES[setting]:
        for row in _table(paths, number, ("setting", "value", "published"), as_text=True).to_dict("records"):
            name, ours, theirs = row["setting"], row["value"], row["published"]
            if not theirs or (number, name) == _UNCOMPARED:
                continue
            kind = _KIND_OF_PARAMETER.get((number, name), "setting")
            right = bool(ours) and KINDS[kind].agrees(theirs, ours)
            if key := _ALSO_IN_TEXT.get((number, name)):
                in_text = str(_part(published, key))
                right, theirs = right or ours == in_text, f"{theirs} (text: {in_text})"
            verdict = AGREES if right else OTHER_SCALE if ours else MISSING
            yield Comparison(setting, f"Table {number}", name, kind, theirs, ours, verdict)


# --- Results ----------------------------------------------------------------------------------------------------------


Judge = Callable[..., Comparison]
"""`_comparison` at the scales of a preset."""


def _comparison(
    scales: Mapping[str, bool],
    source: str,
    number: str,
    kind: str,
    published: float,
    reproduced: float,
    words: tuple[str, str] | None = None,
) -> Comparison:
    """A published number beside ours, NaN where there is none; `words` are both as shown where that is not the number.

    `scales` says of each setting whether its scale is the paper's.
    """
    setting = ENGLISH if number.startswith(f"{ENGLISH}_") else ARITHMETIC
    missing = math.isnan(reproduced)
    right = not missing and KINDS[kind].agrees(published, reproduced)
    if scales[setting] or (kind == "setting" and right):
        verdict = MISSING if missing else AGREES if right else DIFFERS
    else:
        verdict = OTHER_SCALE
    theirs, ours = words or (_shown(published), _shown(reproduced))
    return Comparison(setting, source, number, kind, theirs, ours, verdict)


def _shown(value: float) -> str:
    return "" if math.isnan(value) else str(value) if isinstance(value, int) else f"{value:.6g}"


def _of_tables(paths: PresetPaths, published: Mapping[str, Any], shown: Reading, judge: Judge) -> Iterator[Comparison]:
    """Tables 1 and 8–12, all of addition; of clusters in the reading that figures show."""
    for number, (keys, names) in RESULT_TABLES.items():
        table = _table(paths, number, (*keys, "reading", *names))
        table = table[table["reading"] == shown]
        for group, values in _part(published, f"table_{number:02d}").items():
            rows = {row.get("rank", 1): row for row in table[table[keys[0]] == group].to_dict("records")}
            ranks = _as_list(values)
            for rank, printed in enumerate(ranks, start=1):
                ours = rows.get(rank, {})
                theirs = printed if isinstance(printed, Mapping) else dict(zip(names, _as_list(printed), strict=True))
                of = f"{group}, rank {rank}" if "rank" in keys else group
                for name in names:
                    yield judge(f"Table {number}", f"{of}, {name}", "share", theirs[name], ours.get(name, math.nan))
    # The heads as printed contradict the text (docs/choices.md), so the other reading is what can be judged.
    table = _table(paths, 12, ("reading", "quantity", "value", "published"))
    for row in table[table["reading"] == "heads_swapped"].to_dict("records"):
        kind = "cosine" if row["quantity"] == "cosine_similarity" else "magnitude"
        yield judge("Table 12", f"{row['quantity']}, heads swapped", kind, row["published"], row["value"])


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _ratio(scalars: Mapping[str, Any], name: str) -> tuple[float, str]:
    """A count as a share of what it is counted among, and in words; NaN where one of them is missing."""
    whole, less = _OF[name]
    counts: list[Any] = [scalars.get(key) for key in (name, whole, less) if key]
    if any(count is None for count in counts):
        return math.nan, ""
    part, total = float(counts[0]), counts[1] - sum(counts[2:])
    return (part / total if total else math.nan), f"{_shown(counts[0])} of {total}"


def _of_text(
    paths: PresetPaths, published: Mapping[str, Any], settings: Collection[str], judge: Judge
) -> Iterator[Comparison]:
    """Scalars of these settings that the text quotes."""
    theirs, ours = _part(published, "scalars"), read_json(_required(scalars_path(paths), paths))
    for name, value in theirs.items():
        if name.partition("_")[0] not in settings:
            continue
        kind = _KIND_OF.get(name, "setting")
        if name in _OF:
            (their_share, their_words), (our_share, our_words) = _ratio(theirs, name), _ratio(ours, name)
            yield judge("text", name, kind, their_share, our_share, (their_words, our_words))
        else:
            own = ours.get(name)
            yield judge("text", name, kind, value, math.nan if own is None else own)


def compare(paths: PresetPaths) -> PublishedAgainstReproduced:
    """Every published number of the preset's settings that has a counterpart here, beside that of the preset.

    Raises:
        PolcaError: the preset's parameters or a file of results are missing or damaged.
    """
    published = read_params(paths.root / "data" / "published.yaml")
    rows: list[Comparison] = []
    others: dict[str, tuple[str, ...]] = {}
    preset = as_run(Preset.read(paths))
    for setting in preset.sources:
        chosen = list(_parameters(paths, setting, published))
        others[setting] = tuple(row.number for row in chosen if row.verdict != AGREES)
        rows += chosen
    judge = partial(_comparison, {setting: not names for setting, names in others.items()})
    if (own := PresetResults.of(paths, preset.params).arithmetic) is not None:
        rows += _of_tables(paths, published, own.reading, judge)
    rows += _of_text(paths, published, others, judge)
    return PublishedAgainstReproduced(tuple(rows), others)
