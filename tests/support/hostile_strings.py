"""Generated strings of the kinds that somebody may send to a service by mistake or malice."""

import random

WORDS = "a the man woman child rides reads holds red small house horse and two in of on under ball street dog".split()
SCRIPTS = "aé ßжЯ αΩ אש عم हि ไท 中文 かな 한글 ጀሀ ∑∫ 𝔸𝒳 ﷽ ⠿".replace(" ", "")
SPACES = " \t\x0b\x0c\x85\xa0\u1680\u2000\u2003\u2007\u2009\u200a\u202f\u205f\u3000"
BREAKS = ["\n", "\r", "\r\n", "\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\u2028", "\u2029"]
PIECES = "</s> <s> <unk> <pad> [PAD] [UNK] [START] [END] ▁ ## ##a ⁇ <0x41> <0x00> >>deu<< <2de> ▅".split()
EMOJI = "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪 🧑🏿‍🚀 ❤️ 1️⃣ 🫠 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ☠".split()
BIDI = "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200c\u200d\ufeff"
INVALID = [  # overlong forms, surrogates, beyond U+10FFFF, single continuation and start bytes, Latin-1
    *(b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xed\xa0\x80", b"\xed\xa0\xbd\xed\xb8\x80"),
    *(b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe", b"\xff", b"\x80", b"\xbf\xbf", b"\xe2\x82", b"caf\xe9"),
]


def plain(rng):
    return " ".join(rng.choices(WORDS, k=rng.randint(1, 12))) + rng.choice(["", " .", "?", "!"])


def mixed_into(rng, parts, most=4):
    """Return a plain sentence with some of the `parts`, text or bytes, between its characters."""
    text = [character.encode() for character in plain(rng)]
    for part in rng.choices(parts, k=rng.randint(1, most)):
        text.insert(rng.randint(0, len(text)), part if isinstance(part, bytes) else part.encode())
    return b"".join(text)


def cut_short(rng):
    """Return text that ends, or begins, inside a character."""
    text = "".join(rng.choices(SCRIPTS + "".join(EMOJI), k=rng.randint(1, 12))).encode()
    return text[rng.randint(0, 2) : len(text) - rng.randint(1, 3)]


def one_character(rng, longest):
    """Return up to `longest` bytes of one character. All powers of two are equally likely as a length."""
    character = rng.choice(["a", " ", ".", "é", "中", "😀", "\u0301", "\x00", "\n", "▁", "\u00a0"]).encode()
    return character * max(1, int(2 ** rng.uniform(4, longest.bit_length() - 1)) // len(character))


def long_word(rng, longest):
    length = min(longest // 2, int(2 ** rng.uniform(4, 13)))
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyzäöüß-", k=length))


def stacked(rng):
    marks = [chr(rng.randint(0x300, 0x36F)) for _ in range(rng.randint(1, 40))]
    return plain(rng) + rng.choice("aeZ") + "".join(marks) + plain(rng)


KINDS = {
    "plain": plain,
    "random bytes": lambda rng: rng.randbytes(rng.randint(1, 60)),
    "cut inside a character": cut_short,
    "invalid UTF-8": lambda rng: mixed_into(rng, INVALID),
    "NUL": lambda rng: mixed_into(rng, ["\0", "\0\0", "\0a\0"]),
    "control characters": lambda rng: mixed_into(rng, [chr(i) for i in (*range(32), *range(127, 160))], 8),
    "emoji": lambda rng: mixed_into(rng, EMOJI),
    "stacked marks": stacked,
    "writing direction": lambda rng: mixed_into(rng, [*BIDI, "שלום", "مرحبا"]),
    "long word": long_word,
    "one character": one_character,
    "control pieces": lambda rng: "".join(rng.choices([*PIECES, " ", "a"], k=rng.randint(1, 8))),
    "empty": lambda rng: "",
    "spaces": lambda rng: "".join(rng.choices(SPACES, k=rng.randint(1, 20))),
    "line breaks": lambda rng: mixed_into(rng, BREAKS),
    "numbers": lambda rng: str(rng.randrange(10 ** rng.randint(1, 60))) + rng.choice(["", "e999", ",5", "-" * 30]),
    "mixed scripts": lambda rng: "".join(rng.choices(SCRIPTS + "  ", k=rng.randint(1, 30))),
}
SIZED = {"long word", "one character"}
WEIGHTS = {"long word": 0.1, "one character": 0.1, "empty": 0.3, "plain": 2}  # of the other kinds: 1


def strings(count, seed=1, longest=1_000_000):
    """Return `count` pairs (kind, bytes), the same for the same seed. The first is `longest` bytes of one character."""
    rng = random.Random(seed)
    pairs = [("one character", b"a" * longest)]
    pairs += [(kind, generate(kind, rng, longest)) for kind in KINDS]
    weights = [WEIGHTS.get(kind, 1) for kind in KINDS]
    while len(pairs) < count:
        [kind] = rng.choices(list(KINDS), weights)
        pairs.append((kind, generate(kind, rng, longest)))
    return pairs[:count]


def generate(kind, rng, longest):
    """Return a string of a kind as bytes."""
    text = KINDS[kind](rng, longest) if kind in SIZED else KINDS[kind](rng)
    return text if isinstance(text, bytes) else text.encode()
