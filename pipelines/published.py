"""Put the run of addition that a GPU left in `data/published` where the next stages read it; say what each run has."""

from polca.study.published import read_published_english, read_published_scale
from polca.study.published_run import RunFacts, arithmetic_task, run_folders
from polca.study.settings import Preset
from polca.study.stage import run
from polca.study.stages.published import import_run, run_facts


def main(preset: Preset) -> None:
    root = preset.paths.root
    folders = run_folders(root)
    addition = read_published_scale(folders["arithmetic"])
    facts = {"arithmetic": run_facts(preset.arithmetic(), folders["arithmetic"], root, addition)}
    if folder := folders.get("english"):
        facts["english"] = run_facts(preset.english(), folder, root, read_published_english(folder))
    RunFacts(facts).save(preset.paths)
    import_run(arithmetic_task(preset), folders["arithmetic"], addition, preset.paths.task("arithmetic"))


if __name__ == "__main__":
    run(main)
