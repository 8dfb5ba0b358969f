"""Draw the figures of the seeds and of the treebank."""

from polca.machine.files import PresetPaths, read_csv, writing
from polca.report.figures.style import encode, styled
from polca.report.figures.validity_seeds import draw_constructions, draw_profiles, draw_seeds
from polca.study.stage import run


def main(paths: PresetPaths) -> None:
    results = paths.root / "runs" / paths.name / "validity"
    seeds = {n: read_csv(results / "seeds" / f"seeds_{n}.csv") for n in ("values", "summary", "profiles", "matches")}
    treebank = read_csv(results / "treebank" / "treebank.csv")
    with writing(results / "seeds_figures") as folder, styled():
        figures = {
            "validity_seeds": draw_seeds(seeds["values"], seeds["summary"]),
            "validity_profiles": draw_profiles(seeds["profiles"], seeds["matches"]),
        }
        if len(treebank):
            figures["validity_treebank"] = draw_constructions(treebank)
        folder.mkdir()
        for name, figure in figures.items():
            for kind, content in encode(figure).items():
                (folder / f"{name}.{kind}").write_bytes(content)


if __name__ == "__main__":
    run(main)
