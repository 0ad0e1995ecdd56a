"""References and translations of several systems, of sentences that are made by a fixed rule."""

import random

WORDS = "the a man woman dog house sees likes red old ball rich-text runs , sings in on near tall quickly".split()


def references(count=23, seed=1):
    """`count` sentences of 4 to 13 words, the last of which ends in a full stop."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(4, 13))).capitalize() + "." for _ in range(count)]


def translations(errors, seed=2):
    """The references, in which a share of the words is exchanged."""
    rng = random.Random(seed)
    changed = ([rng.choice(WORDS) if rng.random() < errors else word for word in text.split()] for text in references())
    return [" ".join(words) for words in changed]


def write(path, lines):
    """Write a text a line. Returns the path."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
