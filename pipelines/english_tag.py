"""Tag the evaluation text with parts of speech and give every model token its word's tag."""

from polca.artifacts import PresetPaths, read_npz, read_text, write_npz
from polca.english_settings import read_english
from polca.stage import run
from polca.tagging import NAMES, align, load_pipeline, word_tags


def main(paths: PresetPaths) -> None:
    settings, out = read_english(paths.params), paths.english
    text, windows = read_text(out.evaluation_text), read_npz(out.evaluation)
    words = word_tags(text, load_pipeline(settings.pipeline, paths.root))
    tags = align(text, windows["starts"], windows["ends"], words)
    write_npz(out.tags, {"tags": tags, "names": NAMES})


if __name__ == "__main__":
    run(main)
