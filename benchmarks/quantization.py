"""Perplexity of books with int8 weights in PyTorch, compared with float32.

    python benchmarks/quantization.py BOOKS

``BOOKS`` is a folder of texts that the bundled model never saw; they are read in blocks of its context.
"""

import argparse
import math
import tempfile
from pathlib import Path

import torch

from gpt_torch import OpenAIGPTLMHeadModel
from gptcore import DEFAULT_MODEL
from gptcore.storage import TEXT, find
from gptcore.training import Blocks, counts, once, tokenize_corpus
from tokenization import OpenAIGPTTokenizerFast

BATCH = 16


@torch.inference_mode()
def perplexity(model, batches):
    """Over all tokens but the first of each block."""
    found = [(counts(batch)["lm_loss"], model(**tensors(batch)).loss.item()) for batch in batches]
    return math.exp(sum(count * loss for count, loss in found) / sum(count for count, _ in found))


def tensors(batch):
    return {name: torch.from_numpy(array).long() for name, array in batch.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("books", type=Path)
    arguments = parser.parse_args()
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(DEFAULT_MODEL)
    models = [OpenAIGPTLMHeadModel.from_pretrained(DEFAULT_MODEL, quantization=kind).eval() for kind in (None, "int8")]
    print("| perplexity | float32 | int8 | more |\n|---|---:|---:|---:|")
    for book in find(arguments.books, TEXT):
        with tempfile.TemporaryDirectory() as folder:
            blocks = Blocks(tokenize_corpus([book], tokenizer, folder).ids, models[0].config.n_positions)
            batches = once(blocks, BATCH)
        exact, rounded = (perplexity(model, batches) for model in models)
        print(f"| {book.name.split('.')[0]} | {exact:.3f} | {rounded:.3f} | {rounded / exact - 1:.3%} |", flush=True)


if __name__ == "__main__":
    main()
