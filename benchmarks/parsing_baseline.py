"""A yardstick for parsers: a probabilistic grammar that is read off the trees, and its most probable tree.

    python benchmarks/parsing_baseline.py train.mrg dev.mrg benchmarks/results/parsing_baseline

NLTK makes the trees binary (`nltk.tree.transforms`) and the grammar (`nltk.induce_pcfg`). NLTK's own Viterbi parser
takes minutes for a sentence with a grammar of this size, so the search is here, on arrays. Words that the training
trees have at most once become classes of unknown words, by digits, capitals, hyphens and endings. The script parses the
sentences of dev.mrg with at most `--longest` words, scores them by `evaluate_trees`, and writes `parsing_baseline.json`
and `parsing_baseline.md`. A wrong tag of punctuation is an error of the sentence in EVALB, so there is a second score:
without the grammar's tags, as for a parser that gives none. It needs the extra `parsing`.
"""

import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import nltk
import numpy as np
import typer
from nltk.tree.transforms import chomsky_normal_form, collapse_unary, un_chomsky_normal_form
from results import markdown_table, write_results

from keras_transformer.parsing import evaluate_trees, read_trees, to_tokens, to_tree
from keras_transformer.training import provenance

START = "START"  # of the grammar, above the roots of all trees
ENDINGS = ("s", "ed", "ing", "ion", "ly", "al", "ic", "er", "ity")
MINIMUM = np.float32(-1e30)  # the logarithm of the probability of what cannot be


def word_class(word):
    """The class of an unknown word."""
    marks = ["num"] * any(map(str.isdigit, word)) + ["cap"] * word[0].isupper() + ["dash"] * ("-" in word)
    return "-".join(["UNK", *marks, *[ending for ending in ENDINGS if word.endswith(ending)][:1]])


def known_word(word, known):
    """A word as the grammar has it: itself, its class, or UNK, the class of words without marks."""
    return next((form for form in (word, word_class(word)) if form in known), "UNK")


def read_grammar(trees, horizontal, vertical):
    """The grammar of trees, and the words that it knows.

    Args:
        trees: a list of clean trees. They are changed.
        horizontal, vertical: how many siblings and ancestors a label remembers.
    """
    counts = Counter(word for tree in trees for word in tree.leaves())
    productions = []
    for tree in trees:
        for place in tree.treepositions("leaves"):
            if counts[tree[place]] < 2:
                tree[place] = word_class(tree[place])
        tree = nltk.Tree(START, [tree])
        collapse_unary(tree, collapsePOS=True)
        chomsky_normal_form(tree, horzMarkov=horizontal, vertMarkov=vertical)
        productions += tree.productions()
    grammar = nltk.induce_pcfg(nltk.Nonterminal(START), productions)
    return grammar, {production.rhs()[0] for production in grammar.productions() if production.is_lexical()}


class Parser:
    """The most probable tree of a sentence, by CKY over arrays.

    Args:
        grammar: an `nltk.PCFG`. Its rules have two symbols or a word on the right side, or one symbol below START.
    """

    def __init__(self, grammar):
        self.names = sorted({str(rule.lhs()) for rule in grammar.productions()})
        ids = {name: number for number, name in enumerate(self.names)}
        self.lexicon, roots, binary = {}, [], []
        for rule in grammar.productions():
            left, right, score = ids[str(rule.lhs())], rule.rhs(), np.log(rule.prob())
            if rule.is_lexical():
                self.lexicon.setdefault(right[0], []).append((left, score))
            elif len(right) == 1:
                roots.append((ids[str(right[0])], score))
            else:
                binary.append((left, ids[str(right[0])], ids[str(right[1])], score))
        self.root_ids, self.root_scores = (np.array(column) for column in zip(*roots, strict=True))
        self.above, self.first, self.second, scores = (np.array(column) for column in zip(*sorted(binary), strict=True))
        self.rule_scores = scores.astype(np.float32)

    def scores(self, words):
        """The log probabilities {(first word, word after the last): (symbols,)} of the best trees of all spans."""
        size = len(words)
        table = np.full((size, size + 1, len(self.names)), MINIMUM, np.float32)
        for place, word in enumerate(words):
            for symbol, score in self.lexicon.get(word, ()):
                table[place, place + 1, symbol] = score
        for length in range(2, size + 1):
            for first in range(size - length + 1):
                end = first + length
                left, right = (part.max(axis=0) > MINIMUM / 2 for part in self._parts(table, first, end))
                rules = np.flatnonzero(left[self.first] & right[self.second])  # those with both symbols in the span
                if len(rules):
                    best = self._scores(table, first, end, rules).max(axis=0)
                    parents, starts = np.unique(self.above[rules], return_index=True)  # a parent's rules are together
                    table[first, end, parents] = np.maximum.reduceat(best, starts)
        return table

    def _parts(self, table, first, end):
        """The scores of what is left and right of each place where a span can be split: two (splits, symbols)."""
        return table[first, first + 1 : end], table[first + 1 : end, end]

    def _scores(self, table, first, end, rules):
        """The scores of rules at each place where a span can be split: (splits, rules)."""
        left, right = self._parts(table, first, end)
        return left[:, self.first[rules]] + right[:, self.second[rules]] + self.rule_scores[rules]

    def parse(self, words):
        """The best tree of a list of words that the grammar knows, and its log probability; None without a tree."""
        table = self.scores(words)
        totals = table[0, len(words), self.root_ids] + self.root_scores
        best = int(totals.argmax())
        if totals[best] <= MINIMUM / 2:
            return None
        return nltk.Tree(START, [self._tree(table, words, 0, len(words), self.root_ids[best])]), float(totals[best])

    def _tree(self, table, words, first, end, symbol):
        if end - first == 1:
            return nltk.Tree(self.names[symbol], [words[first]])
        rules = np.flatnonzero(self.above == symbol)
        scores = self._scores(table, first, end, rules)
        split, rule = np.unravel_index(scores.argmax(), scores.shape)
        middle, rule = first + 1 + int(split), rules[rule]
        children = [
            self._tree(table, words, first, middle, self.first[rule]),
            self._tree(table, words, middle, end, self.second[rule]),
        ]
        return nltk.Tree(self.names[symbol], children)


def answer(parser, words, known):
    """The tree of a sentence with its own words; a flat tree if the grammar has none."""
    found = parser.parse([known_word(word, known) for word in words])
    if found is None:
        return to_tree("", words).tree, False
    tree, _ = found
    un_chomsky_normal_form(tree)
    for place, word in zip(tree.treepositions("leaves"), words, strict=True):
        tree[place] = word
    return tree[0], True


def main(
    train: Annotated[Path, typer.Argument(help="trees to read the grammar off")],
    dev: Annotated[Path, typer.Argument(help="trees to score against")],
    output: Annotated[Path, typer.Argument(help="folder for the results")],
    longest: Annotated[int, typer.Option(help="words of the longest sentence to parse")] = 40,
    horizontal: Annotated[int, typer.Option(help="siblings that a label remembers")] = 2,
    vertical: Annotated[int, typer.Option(help="ancestors that a label remembers")] = 1,
    every: Annotated[int, typer.Option(help="parse every so many sentences, and leave out the others")] = 1,
):
    """Parse the short sentences of dev with a grammar of train, and score them."""
    start = time.perf_counter()
    grammar, known = read_grammar(read_trees(train), horizontal, vertical)
    parser, seconds_reading = Parser(grammar), time.perf_counter() - start
    references = [tree for tree in read_trees(dev) if len(tree.leaves()) <= longest][::every]
    start = time.perf_counter()
    answers = [answer(parser, tree.leaves(), known) for tree in references]
    seconds = time.perf_counter() - start
    trees = [tree for tree, _ in answers]
    untagged = [to_tree(to_tokens(tree), tree.leaves()).tree for tree in trees]
    scores, untagged_scores = (evaluate_trees(each, references).every for each in (trees, untagged))
    results = {
        "provenance": provenance(),
        "settings": {"longest": longest, "horizontal": horizontal, "vertical": vertical, "every": every},
        "rules": len(grammar.productions()),
        "symbols": len(parser.names),
        "seconds_reading": seconds_reading,
        "sentences": len(references),
        "without_tree": sum(not has_tree for _, has_tree in answers),
        "sentences_per_second": len(references) / seconds,
        "scores": dict(scores.rows()),
        "scores_without_tags": dict(untagged_scores.rows()),
    }
    rows = [
        ["Rules, symbols", f"{results['rules']:,}, {results['symbols']:,}", ""],
        ["Sentences without a tree", results["without_tree"], ""],
        ["Sentences a second", f"{results['sentences_per_second']:.1f}", ""],
        *[[name, value, results["scores_without_tags"][name]] for name, value in results["scores"].items()],
    ]
    header = [f"At most {longest} words", "with tags", "without tags"]
    write_results(output, "parsing_baseline", results, markdown_table(header, rows))


if __name__ == "__main__":
    typer.run(main)
