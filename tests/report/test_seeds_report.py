"""The report's part on seeds, bases and the treebank: numbers are those of result files; what was not run is said."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from polca.machine.checkout import ROOT
from polca.machine.files import read_csv, read_params, write_csv, write_json
from polca.study.paths import PresetPaths
from polca.validity.bases import FURTHER, OWN
from polca.validity.construction_scores import COLUMNS, MEASURES
from polca.validity.seeds import summarize_values
from polca.validity.treebank import CONSTRUCTIONS
from report_words import PLAIN, changed, report_words, typed_numbers
from synthetic_seeds import made_up_values

SOURCE = "paper/validity_seeds.typ"


@pytest.fixture
def paths(tmp_path: Path) -> PresetPaths:
    library = ("paper/lib.typ", "paper/results.typ", "paper/references.bib")
    for name in (SOURCE, *library, "presets/smoke/params.yaml", "data/published.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return PresetPaths("smoke", tmp_path)


def write_results(paths: PresetPaths) -> None:
    """Made-up results of all that is shown."""
    folder, generator = paths.root / "paper" / "smoke" / "validity", np.random.default_rng(0)
    kind = {
        "matched": 0.211, "unmatched": 0.622, "same_index": 0.433, "p_value": 0.0217, "null_mean": 0.544,
        "null_5_percent": 0.455, "items": 23, "seeds": 4,
    }  # fmt: skip
    values = made_up_values()
    write_csv(folder / "seeds_summary.csv", summarize_values(values, read_params(ROOT / "data" / "published.yaml")))
    told = {"seeds": [0, 1, 2, 3, 4], "interval": 40, "delta": 120, "stability": {"vector": kind, "cluster": kind}}
    write_json(folder / "seeds.json", told)
    numbers = ("homogeneity", "fraction_hidden", "completeness", "relative_residual", "overlap_with_hessian")
    rows = [
        {
            "basis": name, "vectors": 17, "kept": 13, "clusters": 14, "gradient_evaluations": 216.0,
            **{n: generator.uniform(0.1, 0.9) for n in numbers},
            **{f"auc_{p}": generator.uniform(0.5, 0.9) for p in ("1000s", "100s", "10s")},
        }
        for name in (*OWN, *FURTHER)
    ]  # fmt: skip
    rows[4]["auc_100s"] = 0.9321
    write_csv(folder / "bases.csv", pd.DataFrame(rows))
    write_json(folder / "bases.json", {"interval": 40, "window": 12, "product_cost": 3})
    bank = [
        {"analysis": a, "construction": c, "measure": m, "value": 0.7, "p_value": 0.01, "within_p_value": 0.5}
        for a in ("polca", "polca_fine")
        for c in CONSTRUCTIONS
        for m in MEASURES
    ]
    table = pd.DataFrame(bank, columns=[*COLUMNS])
    table.loc[table["construction"] == "conjunct", "p_value"] = 0.3
    write_csv(folder / "treebank.csv", table)
    write_json(
        folder / "treebank.json",
        {
            "status": "done", "file": "some.conllu.gz", "tokens": 3714, "loss_first": 8.37, "loss_last": 6.28,
            "analyses": {"polca": {"clusters": 15}, "polca_fine": {"clusters": 16}},
        },
    )  # fmt: skip


def text_of(paths: PresetPaths, level: float = 0.05) -> str:
    """The words of this part alone, without its tables."""
    plain = PLAIN.replace("paper/paper.typ", SOURCE) + '\n#bibliography("paper/references.bib")\n'
    return report_words(paths, plain, r"<table.*?</table>", lambda told: told["constants"].update(level=level))


def test_what_was_not_run_is_said(paths: PresetPaths) -> None:
    text = text_of(paths)
    assert text.count("not run for this preset") == 3
    assert "missing" not in text


def test_a_skipped_treebank_is_said(paths: PresetPaths) -> None:
    write_results(paths)
    folder = paths.root / "paper" / "smoke" / "validity"
    write_json(folder / "treebank.json", {"status": "skipped: no treebank", "file": "some.conllu.gz"})
    assert "not asked for this preset (skipped: no treebank)" in text_of(paths)


def test_numbers_are_those_of_the_files(paths: PresetPaths) -> None:
    write_results(paths)
    text = text_of(paths)
    # The exact loss has an eligible cluster in no seed, POLCA in three.
    assert "POLCA has an eligible cluster in 3 of 5 seeds, with a best homogeneity of" in text
    assert "Matched directions differ by 0.211 on average" in text
    assert "directions of the same number by 0.433, and any two by 0.622" in text
    assert "is in part the same in all seeds" in text
    assert "sets 13 bases of 17 directions" in text
    assert "basis “gradient covariance” has the best AUC for carries into the hundreds (0.93" in text
    assert "3,714 tokens" in text
    # Eight constructions beside the two controls; one is not above the null, none is within equal tokens.
    assert "tells 7 of 8 constructions apart" in text
    assert "the directions see which token it is" in text


def test_it_has_no_number_of_its_own(paths: PresetPaths) -> None:
    write_results(paths)
    before = text_of(paths)
    for path in (paths.root / "paper" / "smoke" / "validity").iterdir():
        if path.suffix == ".json":
            told = changed(json.loads(path.read_text(encoding="utf-8")))
            write_json(path, told | ({"seeds": [1, 2]} if path.name == "seeds.json" else {}))
        else:
            table = read_csv(path)
            names = {"table", "rank", "tokens", "targets", "vector", "cluster", "size"}
            for name in set(table.select_dtypes("number")) - names:
                table[name] = 1.43 * table[name] + 0.123 if table[name].dtype == float else 3 * table[name] + 7
            # Fewer rows where rows are counted, and one more that beats the second null.
            if path.name == "treebank.csv":
                table = table[~table["construction"].isin(["apposition", "agreement", "conjunct"])]
                table.loc[table["construction"] == "list_comma", ["p_value", "within_p_value"]] = 0.9, 0.01
            write_csv(path, table.head(12) if path.name == "bases.csv" else table)
    params = paths.root / "presets" / "smoke" / "params.yaml"
    params.write_text(yaml.safe_dump(changed(yaml.safe_load(params.read_text(encoding="utf-8")))), encoding="utf-8")
    found = typed_numbers(before, text_of(paths, level=0.17))
    # The number of a reference.
    assert not (typed := [w for w in found if "[[1]]" not in w]), "\n".join(typed)
