"""Bits per byte of held-out text without a neural network: a 5-gram model and ``xz -9e``.

    python benchmarks/compression.py TRAIN HELDOUT --tokenizer FOLDER

TRAIN and HELDOUT are text files or folders. The 5-gram model is estimated from TRAIN, on the ids that the neural model
reads, with interpolated Kneser-Ney smoothing and one discount per order. ``xz`` compresses the words of HELDOUT with
single spaces: the text that the ids represent. Both sizes are divided by the size of the original text in bytes.
"""

import argparse
import json
import lzma
import math
import tempfile
from pathlib import Path

import numpy as np

from gptcore.training import tokenize_corpus
from tokenization import OpenAIGPTTokenizerFast

ORDER = 5
BASE = np.uint64(0x9E3779B97F4A7C15)  # odd: ids of n-grams are 64-bit hashes, of which 10**7 collide once in 10**5 runs


def grams(ids, order):
    """A number for each run of ``order`` ids, (N - order + 1,)."""
    numbers = np.zeros(len(ids) - order + 1, np.uint64)
    for i in range(order):
        numbers = (numbers + ids[i : len(ids) - order + 1 + i].astype(np.uint64) + np.uint64(1)) * BASE
        numbers ^= numbers >> np.uint64(29)
    return numbers


class KneserNey:
    """The probability of an id behind up to ``ORDER - 1`` others."""

    def __init__(self, ids, vocab_size):
        self.vocab_size, self.levels = vocab_size, {}
        starts = None  # of the different runs that are one longer
        for order in range(ORDER, 0, -1):
            places = np.arange(len(ids) - order + 1) if starts is None else starts + 1
            found, first, counts = np.unique(grams(ids, order)[places], return_index=True, return_counts=True)
            starts = places[first]
            behind = grams(ids, order - 1)[starts] if order > 1 else np.zeros(len(starts), np.uint64)
            contexts, inverse, kinds = np.unique(behind, return_inverse=True, return_counts=True)
            totals = np.bincount(inverse, counts)
            once, twice = (counts == 1).sum(), (counts == 2).sum()
            discount = once / (once + 2 * twice)
            self.levels[order] = (found, counts, contexts, totals, kinds, discount)

    def probabilities(self, ids):
        """Of each id behind those before it, (N,); the first has none."""
        p = np.full(len(ids), 1 / self.vocab_size)
        for order in range(1, ORDER + 1):
            found, counts, contexts, totals, kinds, discount = self.levels[order]
            count = look_up(found, counts, grams(ids, order))
            behind = grams(ids, order - 1)[: len(count)] if order > 1 else np.zeros(len(count), np.uint64)
            total, different = look_up(contexts, totals, behind), look_up(contexts, kinds, behind)
            known = total > 0
            lower = p[order - 1 :]
            mixed = (np.maximum(count - discount, 0) + discount * different * lower) / np.where(known, total, 1)
            p[order - 1 :] = np.where(known, mixed, lower)
        return p


def look_up(keys, values, wanted):
    """The value of each wanted key, 0 where there is none."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("heldout", type=Path)
    parser.add_argument("--tokenizer", required=True)
    arguments = parser.parse_args()
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(arguments.tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        train, heldout = (
            tokenize_corpus(path, tokenizer, Path(folder) / path.name) for path in (arguments.train, arguments.heldout)
        )
        model = KneserNey(np.array(train.ids), len(tokenizer))
        size = len(heldout) * heldout.bytes_per_token
        bits = -np.log2(model.probabilities(np.array(heldout.ids))).sum()
        words = "".join(tokenizer.convert_ids_to_tokens(heldout.ids.tolist())).replace("</w>", " ")
    packed = lzma.compress(words.encode(), preset=9 | lzma.PRESET_EXTREME)
    assert math.isfinite(bits)
    print(json.dumps({"5-gram Kneser-Ney": bits / size, "xz -9e": 8 * len(packed) / size}))


if __name__ == "__main__":
    main()
