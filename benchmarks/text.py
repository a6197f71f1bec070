"""Compare the speed of the tokenizers with transformers', on English books, in processes that alternate.

    python benchmarks/text.py --rival-python PYTHON    # a Python with transformers 4.57.6, spaCy and ftfy

Every process loads its tokenizer, encodes one short text, and then times one call with a list of paragraphs, as users
of both libraries do. The tokenizer's cache therefore starts almost empty. The median counts. All processes of
a text path must give the same ids. ``--memory`` shows instead what encoding 100 MB leaves in memory.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import lzma
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

DATA = Path(__file__).parents[1] / "tests" / "data"

# Name -> whose Python runs it, and its text path.
CONTESTANTS = {
    "gptcore fast, basic": ("ours", "basic"),
    "gptcore fast, original": ("ours", "original"),
    "gptcore plain, basic": ("ours", "basic"),
    "gptcore plain, original": ("ours", "original"),
    "transformers fast": ("rival", "basic"),
    "transformers slow, BasicTokenizer": ("rival", "basic"),
    "transformers slow, spaCy": ("rival", "original"),
}
TARGETS = (
    ("gptcore fast, basic", "transformers fast", 3),
    ("gptcore fast, original", "transformers slow, spaCy", 10),
    ("gptcore fast, original", "transformers fast", 2),
)


def load(name):
    """The tokenizer of a contestant."""
    folder = DATA / "openai-gpt"
    files = str(folder / "vocab.json"), str(folder / "merges.txt")
    if name.startswith("gptcore"):
        sys.path.insert(0, str(Path(__file__).parents[1]))
        from tokenization import OpenAIGPTTokenizer, OpenAIGPTTokenizerFast

        kind = OpenAIGPTTokenizerFast if "fast" in name else OpenAIGPTTokenizer
        return kind(*files, pre_tokenizer=CONTESTANTS[name][1])
    if "Basic" in name:
        sys.modules["ftfy"] = None
    import transformers

    transformers.logging.set_verbosity_error()
    if "fast" in name:
        return transformers.OpenAIGPTTokenizerFast(*files)
    tokenizer = transformers.OpenAIGPTTokenizer(*files)
    assert (tokenizer.fix_text is None) == ("Basic" in name)
    return tokenizer


def paragraphs():
    """The paragraphs of all books of the repository, one book after the other."""
    for path in sorted((DATA / "books").glob("*/*.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as file:
            yield from (line.rstrip("\n") for line in file if line.strip())


def contest(name):
    """One contestant's time for one call; printed as JSON."""
    texts = list(paragraphs())
    tokenizer = load(name)
    tokenizer(["One short text."])
    start = time.perf_counter()
    rows = tokenizer(texts)["input_ids"]
    seconds = time.perf_counter() - start
    digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    size = sum(len(text.encode()) for text in texts)
    print(json.dumps({"seconds": seconds, "bytes": size, "tokens": sum(map(len, rows)), "digest": digest}))


def memory(megabytes=100):
    """What the fast class holds after that much text, and the most that the process ever held."""
    for mode in ("basic", "original"):
        tokenizer = load(f"gptcore fast, {mode}")
        done, batch = 0, []
        for lap in itertools.count():
            for text in paragraphs():
                batch.append(f"{text} x{lap}{len(text)}")  # words that no lap before had
                done += len(text.encode())
                if len(batch) == 1000:
                    tokenizer(batch)
                    batch.clear()
            if done > megabytes * 1_000_000:
                break
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        chunks = len(tokenizer._tokenizer.chunks.cache)
        print(f"{mode}: {done / 1e6:.0f} MB encoded, {chunks:,} chunks remembered, peak {peak} MB")


def run(name, pythons):
    command = [pythons[CONTESTANTS[name][0]], "-W", "ignore", __file__, "--contestant", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rival-python", default=sys.executable, help="a Python with transformers, spaCy and ftfy")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=CONTESTANTS, help="default: all")
    parser.add_argument("--memory", action="store_true", help="show memory instead of speed")
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        memory()
        return
    if options.contestant:
        contest(options.contestant)
        return
    pythons = {"ours": sys.executable, "rival": options.rival_python}
    names = options.only or list(CONTESTANTS)
    results = {name: [] for name in names}
    for _ in range(options.repeats):
        for name in names:
            results[name].append(run(name, pythons))
    digests = {}
    for name, rows in results.items():
        for row in rows:
            assert digests.setdefault(CONTESTANTS[name][1], row["digest"]) == row["digest"], f"{name}: other ids"
    speed = {
        name: statistics.median(row["bytes"] / row["seconds"] for row in rows) / 1e6 for name, rows in results.items()
    }
    size = results[names[0]][0]["bytes"] / 1e6
    print(f"{size:.1f} MB of English books, median of {options.repeats}, {os.cpu_count()} cores")
    print("| tokenizer | MB/s |\n| --- | ---: |")
    for name in names:
        print(f"| {name} | {speed[name]:.2f} |")
    for ours, theirs, wanted in TARGETS:
        if ours in speed and theirs in speed:
            print(f"{ours} / {theirs}: {speed[ours] / speed[theirs]:.1f} (target: at least {wanted})")


if __name__ == "__main__":
    main()
