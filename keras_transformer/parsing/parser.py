"""Sentences in, trees out: a trained model of tree tokens with its tokenizers."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from keras import ops

from keras_transformer.inputs.kinds import SentenceError, Texts, read_sentences
from keras_transformer.inputs.numbers import switch
from keras_transformer.inputs.options import check_options
from keras_transformer.inputs.paths import AnyPath
from keras_transformer.inputs.tokenizers import side_of
from keras_transformer.parsing.bracketed import TreeGraph
from keras_transformer.parsing.constraint import TreeConstraint
from keras_transformer.parsing.nodes import pieces
from keras_transformer.parsing.pairs import SPACE
from keras_transformer.parsing.repair import ParsedTree, to_tree
from keras_transformer.parsing.words import escaped
from keras_transformer.translation.batches import WORKERS
from keras_transformer.translation.pieces import pad_rows
from keras_transformer.translation.translator import OPTIONS, Translator

PLACE = "sentences[{}]"  # of a sentence, for messages


class _TreeTranslator(Translator):
    _graph_class = TreeGraph


class Parser:
    """Parses sentences with beam search, as in section 6.3 of the paper.

    With the constraint, every output is a tree over the words of its sentence, and nothing is repaired. Without it, the
    model's tokens are repaired by the rules of `to_tree`.

    Example:
        ```python
        from keras_transformer import Tokenizer, TokenizerPair, Transformer
        from keras_transformer.parsing import Parser, tokenizer_options

        trees = ["(S (NP XX )NP (VP XX )VP )S"]
        words = Tokenizer.train(["mice run"], vocabulary_size=270)
        pair = TokenizerPair(words, Tokenizer.train(trees, **tokenizer_options(trees)))
        sizes = {"vocabulary_size": 270, "target_vocabulary_size": pair.target.vocabulary_size}
        model = Transformer.from_preset("quickstart", **sizes, tie_embeddings="target")  # not trained
        [parsed] = Parser(model, pair, beam_size=2, max_extra_length=20)(["mice run"])
        print(parsed.tree)
        assert parsed.tree.leaves() == ["mice", "run"] and not parsed.is_repaired
        ```

    Args:
        model: a `Transformer` from sentences to the tokens of trees, or a list of them: an ensemble.
        tokenizer: the `TokenizerPair` that they were trained with, whose target has the tokens of trees; or the
            `Tokenizer`, if their trees have the words themselves (`leaves="words"`). See `tokenizer_options`.
        beam_size, length_penalty, max_extra_length: of the search; the paper's by default. An output has at most
            `max_extra_length` tokens more than its sentence has pieces, at least 2.
        constrained: whether every output must be a tree, see `TreeConstraint`.
        **more: further options of `Translator`, see `SearchOptions`.

    Attributes:
        translator: the `Translator` that searches. Its texts are trees in brackets, each on one line.
        constrained: as given.

    Raises:
        TypeError, ValueError, RuntimeError: as in `Translator` and `TreeConstraint`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        beam_size: int = 21,
        length_penalty: float = 0.3,
        max_extra_length: int = 300,
        constrained: bool = True,
        **more: Any,
    ) -> None:
        check_options(more, [name for name in OPTIONS if name != "constraint"], "Parser")
        constraint = TreeConstraint(tokenizer)  # checks the tokenizers in any case
        self.constrained = switch("constrained", constrained)
        if self.constrained:
            more["constraint"] = constraint
            if max_extra_length < 2:
                raise ValueError(f"max_extra_length={max_extra_length} must be at least 2: a tree has a root, and END.")
        self._words, self._copies = constraint.words, constraint.copies
        self._brackets = {token for token in constraint.ids.tokens if token[:1] in ("(", ")")}
        self.translator = _TreeTranslator(model, tokenizer, beam_size, length_penalty, max_extra_length, **more)

    def __call__(
        self, sentences: Texts, batch_size: int = 64, progress: bool = False, workers: int = WORKERS
    ) -> list[ParsedTree]:
        """Parse a list of sentences. The result has the same order.

        Args:
            sentences: a list of strings, with spaces between the words. Words are those of the treebank that the model
                learned from: "do n't ." are three words.
            batch_size, progress, workers: as in `Translator.__call__`.

        Returns:
            A list of `ParsedTree`.

        Raises:
            ValueError: a sentence without words, or whose words the tokenizer does not tell apart.
            TypeError: `sentences` is no list of strings.
        """
        words = [pieces(sentence) for sentence in read_sentences("sentences", sentences)]
        texts = [" ".join(map(escaped, row) if self._copies else row) for row in words]
        sources = self._sources(words, texts)
        options = {"batch_size": batch_size, "progress": progress, "workers": workers}
        found = [hypothesis for [hypothesis] in self.translator.n_best(texts, 1, **options)]
        return [self._tree(*each) for each in zip(found, words, sources, strict=True)]

    def _tree(self, best, words, source):
        """The `ParsedTree` of a `Hypothesis`, given the words and their pieces."""
        names = best.tokens[: len(best.tokens) - best.finished]  # the last is END, if the limit did not cut it off
        if not self._copies:
            return to_tree([name.removeprefix(SPACE) for name in names], words)
        right = dict(enumerate(zip(self._grouped(source), map(escaped, words), strict=True)))
        tokens, number = self._grouped(names), 0
        for place, token in enumerate(tokens):
            if token[0] not in "()":
                pieces_of_word, word = right.get(number, (None, None))
                tokens[place], number = word if token == pieces_of_word else token.removeprefix(SPACE), number + 1
        return to_tree(tokens, words, "words")

    def _grouped(self, names):
        """Names of pieces as tokens: brackets, and the joined pieces of each word."""
        tokens = []
        for name in names:
            if name.startswith(SPACE) or not tokens or tokens[-1][0] in "()":
                is_bracket = name.removeprefix(SPACE) in self._brackets
                tokens.append(name.removeprefix(SPACE) if is_bracket else name)
            else:
                tokens[-1] += name
        return tokens

    def _sources(self, words, texts):
        """The names of the pieces of each sentence.

        Raises:
            ValueError: see `__call__`.
        """
        for number, row in enumerate(words):
            if not row:
                raise SentenceError(number, "has no words. Leave it out.", PLACE)
        if not words:
            return []
        sources = self.translator.tokenizer.encode(texts)
        counts = np.asarray(ops.convert_to_numpy(self._words.count_words(pad_rows(sources))))
        for number, (row, count) in enumerate(zip(words, counts, strict=True)):
            if len(row) != count:
                raise SentenceError(
                    number,
                    f"has {len(row)} words, and {count} for the tokenizer: {' '.join(row)[:60]!r}. Replace the "
                    "character ▁ (U+2581) and unusual spaces.",
                    PLACE,
                )
        return [side_of(self.translator.tokenizer, "source").pieces(ids) for ids in sources]

    @classmethod
    def load(cls, folder: AnyPath | Sequence[AnyPath], dtype: Any = None, **options: Any) -> Self:
        """Read a folder that `save` or training wrote, or several: an ensemble.

        Args:
            folder, dtype: as in `Translator.load`.
            **options: the constructor's: `beam_size`, `constrained` and so on.

        Raises:
            OSError, ImportError, TypeError, ValueError, RuntimeError: as in `Translator.load` and the constructor.
        """
        loaded = Translator.load(folder, dtype)
        parser = cls(loaded.models, loaded.tokenizer, **options)
        parser.translator.folder = loaded.folder
        return parser

    def save(self, folder: AnyPath, overwrite: bool = False) -> None:
        """Write the model and its tokenizers into a new folder; see `Translator.save`."""
        self.translator.save(folder, overwrite)

    def export(self, path: AnyPath, overwrite: bool = False, **options: Any) -> None:
        """Write a SavedModel that takes sentences and gives trees in brackets, with the constraint inside.

        A sentence has spaces between its words. A served tree is on one line, as `tree.pformat(margin=10**6)` writes
        it. Its signatures are those of a translation model, see `keras_transformer.export`. Their `translations` are
        trees. Only `score` takes trees as tokens, as `to_tokens` writes them.

        Args:
            path, overwrite, **options: see `keras_transformer.export.export`.

        Raises:
            ValueError: a parser without the constraint: nothing repairs its outputs in a graph. And as in
                `keras_transformer.export`.
            OSError, RuntimeError, ImportError, TypeError: as in `keras_transformer.export`.
        """
        if not self.constrained:
            raise ValueError("an export needs constrained=True: nothing repairs trees in its graph.")
        self.translator.export(path, overwrite, **options)
