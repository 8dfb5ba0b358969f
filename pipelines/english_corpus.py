"""Read the corpus, train the tokenizer, pack the training text, draw the evaluation windows."""

from polca.machine.files import PresetPaths, write_json, write_npz, write_text
from polca.study.english_settings import CorpusSettings, read_english
from polca.study.stage import run
from polca.tasks.english.corpora.documents import Corpus, split
from polca.tasks.english.corpora.embedded import read_embedded
from polca.tasks.english.corpora.hub import read_hub
from polca.tasks.english.corpora.local import read_local
from polca.tasks.english.text import evaluation_text, pack, save_tokenizer, train_tokenizer


def read_corpus(settings: CorpusSettings, paths: PresetPaths) -> Corpus:
    """The corpus that the preset asks for."""
    if settings.source == "local":
        return read_local(paths.root / settings.input, settings.characters)
    if settings.source == "hub":
        return read_hub(settings.dataset, settings.configuration, settings.characters)
    return read_embedded(settings.packages, settings.characters)


def main(paths: PresetPaths) -> None:
    settings, out = read_english(paths.params), paths.english
    corpus = read_corpus(settings.corpus, paths)
    training, evaluation = split(corpus, settings.corpus.evaluation_fraction, settings.seed)
    tokenizer = train_tokenizer(training, settings.vocabulary)
    stream, context = pack(tokenizer, training), settings.sizes.context
    windows = settings.windows(stream)
    evaluated = evaluation_text(tokenizer, evaluation, settings.data.evaluation_contexts, context, settings.seed)
    seen = settings.training.steps * settings.training.batch_size
    save_tokenizer(tokenizer, out.tokenizer)
    write_npz(out.training, {"tokens": stream})
    write_npz(out.evaluation, {n: getattr(evaluated, n) for n in ("tokens", "starts", "ends")})
    write_text(out.evaluation_text, evaluated.text)
    write_json(
        out.corpus,
        {
            **{
                n: getattr(corpus, n) for n in ("source", "title", "licence", "attribution", "paragraphs", "characters")
            },
            "sha256": corpus.sha256(),
            "documents": len(corpus.documents),
            "training_documents": len(training),
            "evaluation_documents": len(evaluation),
            "vocabulary": settings.vocabulary,
            "training_tokens": len(stream),
            "evaluation_tokens": evaluated.tokens.shape[0] * settings.model(evaluated=True).targets,
            "epochs": seen / windows.windows,
            "characters_per_token": sum(map(len, training)) / len(stream),
        },
    )


if __name__ == "__main__":
    run(main)
