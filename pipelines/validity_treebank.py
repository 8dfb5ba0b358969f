"""English clusters and directions against constructions that a treebank knows; skipped where there is no treebank."""

from polca.machine.files import stacked, write_csv, write_json, writing
from polca.method.bases import Basis
from polca.study.settings import Preset
from polca.study.stage import resumable, run
from polca.study.stages.checkpoints import checkpoint_directory
from polca.study.stages.project import project
from polca.validity.construction_scores import COLUMNS, no_scores
from polca.validity.settings import TreebankSettings, read
from polca.validity.treebank_study import TreebankText, construction_probes, no_probes, scores, summary

SKIPPED = "skipped: no treebank"


def main(preset: Preset) -> None:
    settings, task, out = read(preset, "treebank", TreebankSettings), preset.english(), preset.paths.task("english")
    target, source = preset.paths.validity / "treebank", preset.paths.root / settings.input / settings.file
    if not source.is_file():
        print(f"{settings.input}/{settings.file}: {SKIPPED} (make validity TREEBANK=<directory>)", flush=True)
        with writing(target) as folder:
            write_csv(folder / "treebank.csv", no_scores())
            write_csv(folder / "treebank_probes.csv", no_probes())
            write_json(folder / "treebank.json", {"status": SKIPPED, "file": settings.file})
        return
    text = TreebankText.read(source, task, settings)
    with resumable(preset, "validity_treebank", "english", "validity") as work:
        projections = project(
            task,
            checkpoint_directory(task, out.checkpoints),
            {"hessian": Basis.load(out.basis("hessian"))},
            curvature_of=(),
            data=text.batches(task),
            resume=work / "checkpoints",
        )
    tables, sizes = scores(task, projections, text, settings)
    with writing(target) as folder:
        write_csv(folder / "treebank.csv", stacked(*tables)[[*COLUMNS, "reading"]])
        write_csv(folder / "treebank_probes.csv", construction_probes(task, projections, text))
        write_json(folder / "treebank.json", summary(source, text, settings, projections, sizes))


if __name__ == "__main__":
    run(main)
