"""Tag the evaluation text with parts of speech and give every model token its word's tag."""

from polca.machine.files import PresetPaths, write_npz
from polca.study.english_settings import read_english
from polca.study.stage import run
from polca.tasks.english.tagging import NAMES, align, load_pipeline, word_tags
from polca.tasks.english.text import read_evaluation


def main(paths: PresetPaths) -> None:
    settings, out = read_english(paths.params), paths.english
    contexts = settings.data.evaluation_contexts
    evaluation = read_evaluation(out.evaluation_text, out.evaluation, contexts, settings.sizes.context)
    words = word_tags(evaluation.text, load_pipeline(settings.pipeline, paths.root))
    tags = align(evaluation.text, evaluation.starts, evaluation.ends, words)
    write_npz(out.tags, {"tags": tags, "names": NAMES})


if __name__ == "__main__":
    run(main)
