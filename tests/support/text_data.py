"""Texts for the tests of tokenizers and corpora: the files of ``tests/data``, and texts made here."""

import json
import lzma
import random
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
VOCABULARY = DATA / "openai-gpt"  # of the released model


def put(folder, content, name="a.txt", encoding="utf-8"):
    """Write a text file; returns its path."""
    (folder / name).write_bytes(content.encode(encoding))
    return folder / name


def edge_cases():
    """The texts of edge_cases.jsonl."""
    lines = (DATA / "text" / "edge_cases.jsonl").read_text(encoding="utf-8").split("\n")
    return [case["text"] for case in map(json.loads, filter(None, lines))]


def books(part):
    """The texts of the books of a part, "train" or "heldout"."""
    paths = sorted((DATA / "books" / part).glob("*.xz"))
    assert paths
    return [lzma.decompress(path.read_bytes()).decode() for path in paths]


def paragraphs(part, count):
    """That many paragraphs, spread over the books of a part."""
    lines = [line for text in books(part) for line in text.split("\n") if line]
    return lines[:: max(1, len(lines) // count)][:count]


# What spaCy's rules, ftfy and the standardisation look at, in one alphabet: nearly every text of it is a special case.
TRICKY = [
    *"'.:<>=3osdm a8n\u2026-\u2014$\u00a3%#@&;^xXDvpPOo09\u00b0\u2019\u2018\u201c\u201d()[]\"*/_",
    *(
        "'s",
        "n't",
        "a.m.",
        "\n",
        " ",
        "http://",
        "www.",
        "e.g.",
        "u.s.",
        "don't",
        "<3",
        "' '",
        "''",
        "'em",
        ":)",
        "^_^",
    ),
    *("o_o", "km", "\u00e9", "\u00c3", "\u00a9", "\u00e2\u20ac\u2122", "&amp;", "&lt;", "\ufb01", "\u200b", "\u00bd"),
    *("\U0001f44d", "\xa0", "\x0c", "\r\n", "\u0130", "\u03a3", "\ud83d", "\x00", "\u2028", "\x85", "\u4e2d", "\u0301"),
]
ODD = [
    *map(chr, range(0x250)),
    *map(
        chr, (0x300, 0x301, 0x316, 0x345, 0x3A3, 0x3C3, 0x130, 0x1FBE, 0x212B, 0x2126, 0xAC00, 0x1100, 0x1161, 0x11A8)
    ),
    *map(
        chr,
        (
            0x4E2D,
            0xFA10,
            0x2028,
            0x200B,
            0xFB01,
            0x3000,
            0xD800,
            0xDC00,
            0xFFFD,
            0x338,
            0x3D,
            0x378,
            0x1EC9,
            0x1F82,
            0x1FEF,
        ),
    ),
]


def random_texts(count, seed=0):
    """Texts that look for trouble: special cases in odd company, odd characters, any character at all."""
    draw = random.Random(seed)
    for i in range(count):
        if i % 3 == 0:
            yield "".join(draw.choice(TRICKY) for _ in range(draw.randrange(1, 16)))
        elif i % 3 == 1:
            yield "".join(draw.choice(ODD) for _ in range(draw.randrange(1, 12)))
        else:
            yield "".join(chr(draw.choice([draw.randrange(0x3000), draw.randrange(0x110000)])) for _ in range(6))
