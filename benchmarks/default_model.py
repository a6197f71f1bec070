"""The figures and the samples of the bundled model, as Markdown for gptcore/data/default/README.md.

    python benchmarks/default_model.py HELDOUT

``HELDOUT`` has the books that the model never saw. Each is evaluated in every framework. The samples use the
seeds 0 to 9 and are not selected.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from gptcore import DEFAULT_MODEL, OpenAIGPTConfig
from gptcore.backends import installed, load_backend, load_trainers
from gptcore.spec import Head
from gptcore.storage import TEXT, find
from gptcore.training import PRETRAINING, Blocks, evaluate_lm, once, tokenize_corpus
from tokenization import OpenAIGPTTokenizerFast

PROMPT = "Once upon a time"
SETTINGS = {"do_sample": True, "temperature": 0.8, "top_p": 0.95, "max_new_tokens": 120}
BATCH = 16


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("heldout", type=Path)
    arguments = parser.parse_args()
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(DEFAULT_MODEL)
    backends = {name: load_backend(name) for name in installed()}
    length = OpenAIGPTConfig.from_pretrained(DEFAULT_MODEL).n_positions

    trainers = {name: load_trainers(name)(DEFAULT_MODEL, Head.LM, PRETRAINING, 1) for name in backends}
    print(f"| bits per byte | tokens | {' | '.join(trainers)} |\n|---|---:|{'---:|' * len(trainers)}")
    books = find(arguments.heldout, TEXT)
    for paths in (*([book] for book in books), books):
        with tempfile.TemporaryDirectory() as folder:
            corpus = tokenize_corpus(paths, tokenizer, folder)
            name = paths[0].name.split(".")[0] if len(paths) == 1 else "all"
            batches = once(Blocks(corpus.ids, length), BATCH)
            found = (evaluate_lm(trainer, batches, corpus.bytes_per_token) for trainer in trainers.values())
            bits = " | ".join(f"{evaluation.metrics['bits_per_byte']:.6f}" for evaluation in found)
            print(f"| {name} | {len(corpus.ids):,} | {bits} |", flush=True)

    ids = np.array([tokenizer(PROMPT).input_ids])
    models = [backend.load(DEFAULT_MODEL, Head.LM) for backend in backends.values()]
    for seed in range(10):
        first, *others = (model.generate(ids, seed=seed, **SETTINGS)[0].tolist() for model in models)
        assert all(other == first for other in others), f"the frameworks differ with seed {seed}"
        print(f"\n**{seed}.** {tokenizer.decode(first, readable=True)}")


if __name__ == "__main__":
    main()
