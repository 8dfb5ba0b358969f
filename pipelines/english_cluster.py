"""From projections to named clusters: the exact loss and POLCA, labelled by parts of speech."""

from polca.machine.files import PresetPaths, stacked, write_csv, write_json, writing
from polca.method.projections import Projections
from polca.study.english_analyses import ANALYSES, TABLES, TaggedText, analyse, summarise
from polca.study.english_settings import read_english
from polca.study.stage import run
from polca.tasks.transformer import parameter_count


def main(paths: PresetPaths) -> None:
    settings, out = read_english(paths.params), paths.english
    projections, text = Projections.load(out.projections), TaggedText.read(out, settings)
    done = {name: analyse(name, projections, text, settings) for name in ANALYSES}
    with writing(out.clusters) as folder:
        for name, analysis in done.items():
            analysis.clusters.save(folder / f"{name}.npz")
    tables = {t: stacked(*(analysis.tables[t] for analysis in done.values())) for t in TABLES}
    for table, path in (("clusters", out.cluster_table), ("vectors", out.vector_table), ("contexts", out.contexts)):
        write_csv(path, tables[table])
    guarded = {name: analysis.guarded for name, analysis in done.items()}
    summary = summarise(projections, text, tables["clusters"], tables["vectors"], settings, guarded)
    write_json(out.summary, {**summary, "parameters": parameter_count(settings.model())})


if __name__ == "__main__":
    run(main)
