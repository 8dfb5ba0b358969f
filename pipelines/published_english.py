"""Import, cluster and score the run of English that a GPU left; where there is none, folders that say so.

DVC wants every output of a stage. One stage makes all of English, so that these are two folders.
"""

import cluster
import signatures
from polca.machine.files import write_text
from polca.study.published import read_published_english
from polca.study.published_run import as_run, english_task, run_folders
from polca.study.settings import Preset
from polca.study.stage import run
from polca.study.stages.published import import_run


def main(preset: Preset) -> None:
    out = preset.paths.task("english")
    if (folder := run_folders(preset.paths.root).get("english")) is None:
        for path in (out.directory, out.results):
            write_text(path / "not_run.txt", "English was not run at this scale: docs/gpu.md says how.\n")
        return
    task = english_task(preset)
    import_run(task, folder, read_published_english(folder), out)
    cluster.main(as_run(preset), task, out)
    signatures.main(as_run(preset), task, out)


if __name__ == "__main__":
    run(main)
