"""The training of a parser: trees become two aligned texts, and the scores are those of trees."""

from functools import partial
from pathlib import Path

from keras_transformer_cli.parsing import facts
from keras_transformer_cli.screen import say
from keras_transformer_cli.settings import DATA_FOLDER, own_tokenizer
from keras_transformer_cli.tasks import SEARCH, Task
from keras_transformer_cli.training import run_training
from keras_transformer_cli.training_data import learn

FILES = {"source": "train.words", "target": "train.trees", "valid_source": "dev.words", "valid_target": "dev.trees"}


def run_parser_training(given, explicit):
    """Train with the options of `parse train`, and print the result card.

    Args:
        given: {name: value} of all options.
        explicit: the names of those that the user gave.
    """
    data = Path(given["output"]) / DATA_FOLDER
    texts = {name: str(data / file) for name, file in FILES.items()}
    none = dict.fromkeys(("also", "valid_pairs", "tokenizer", "target_vocabulary_size", "segmentation_alpha"))
    others = {
        "normalization": "none",
        "segmentations": 1,
        "monitor": "val_perplexity",
        "bleu_every": 0,
        "bleu_tokenize": "none",
    }
    prepare = partial(write_texts, exact_size="vocabulary_size" in explicit)
    task = Task("parse train", prepare, score_parses, lambda scores: scores.every.f1, facts, tuple(given))
    run_training({**texts, **none, **others, **given}, explicit, task)


def write_texts(settings, output, exact_size):
    """Write the trees as texts, and the tokenizer, into the folder of the run.

    Args:
        settings: of the run.
        output: the folder of the run.
        exact_size: whether the tokenizer must have exactly the pieces that the settings say, and not fewer.

    Returns:
        The settings, with the tokenizer.
    """
    from keras_transformer.inputs.tokenizers import save_tokenizer
    from keras_transformer.parsing import TreeConstraint, write_tree_pairs

    (output / DATA_FOLDER).mkdir(parents=True, exist_ok=True)
    for name, part in (("trees", "source"), ("dev", "valid_source")):
        sides = settings[part], settings[part.replace("source", "target")]
        report = write_tree_pairs(settings[name], *sides, settings["leaves"], overwrite=True)
        say(f"{settings[name]}: {report}")
    if learned := own_tokenizer(output):
        return settings | {"tokenizer": learned}
    tokenizer = make_tokenizer(settings, exact_size)
    TreeConstraint(tokenizer)  # it refuses pieces of words that do not tell where words begin
    save_tokenizer(tokenizer, output / DATA_FOLDER, overwrite=True)
    return settings | {"tokenizer": str(output / DATA_FOLDER)}


def make_tokenizer(settings, exact_size):
    """One tokenizer of words and brackets if trees have words, else a pair of one for sentences and one for trees.

    Raises:
        ValueError: the kind of the subwords cannot have brackets as pieces, or as in `Tokenizer.train`.
    """
    from keras_transformer import Tokenizer, TokenizerPair
    from keras_transformer.parsing import tokenizer_options

    size, options = settings["vocabulary_size"], tokenizer_options(settings["target"], settings["leaves"])
    if settings["leaves"] != "words":
        words = learn([settings["source"]], size, settings, exact_size)
        return TokenizerPair(words, Tokenizer.train(settings["target"], **options))
    if settings["subwords"] == "wordpiece":
        raise ValueError("subwords=wordpiece cannot go with leaves=words: its pieces have no brackets. Choose bpe.")
    options |= {"model": settings["subwords"]} | ({} if exact_size else {"hard_vocab_limit": False})
    say(f"Learning {size:,} pieces from {settings['source']} …")
    return Tokenizer.train(settings["source"], size, **options)


def score_parses(model, data, settings):
    """The `TreeScores` of the model on the trees to choose by."""
    from keras_transformer.parsing import Parser, evaluate_trees, read_trees, words_of

    references = read_trees(settings["dev"])
    parser = Parser(model, data.tokenizer, **{name: settings[name] for name in SEARCH})
    found = parser([" ".join(words_of(tree)) for tree in references], progress=True)
    return evaluate_trees([each.tree for each in found], references)
