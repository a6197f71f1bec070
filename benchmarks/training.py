"""Compare the speed of training steps with transformers' class, in processes that alternate.

    python benchmarks/training.py --peer-python PYTHON --out FILE

``PYTHON`` has transformers 4.57.6. The released size, 4 x 128 tokens, AdamW, dropout 0.1; ``FILE`` gets the figures as
JSON.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from racing import Process, write_checkpoint

TASK = "step, 4 x 128"
TASKS = {TASK: {"task": "train", "batch": 4, "length": 128}}
OURS = {
    "gptcore, torch": {"backend": "torch"},
    "gptcore, tf": {"backend": "tf"},
    "gptcore, flax": {"backend": "flax"},
    "gptcore, torch, bfloat16": {"backend": "torch", "precision": "bfloat16"},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", help="a Python with transformers 4.57.6")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--out", type=Path, help="a file for the figures")
    arguments = parser.parse_args()
    table = {}
    with tempfile.TemporaryDirectory() as checkpoint:
        write_checkpoint(checkpoint)
        entries = [(name, sys.executable, "ours_training", settings) for name, settings in OURS.items()]
        if arguments.peer_python:
            entries.append(("transformers", arguments.peer_python, "transformers_training", {}))
        racing = [
            Process(name, python, script, {**settings, "checkpoint": checkpoint}, tasks=TASKS)
            for name, python, script, settings in entries
        ]
        for _ in range(arguments.rounds + 1):
            for contestant in racing:
                contestant.run(TASK)
        table = {contestant.name: contestant.figures(TASK) for contestant in racing}
    base = table.get("transformers", next(iter(table.values())))["tokens_per_second"]
    print(f"{TASK:28} tokens/s    times  compiling, s  memory / weights")
    for name, figures in table.items():
        rate = figures["tokens_per_second"]
        print(f"{name:28} {rate:8.1f} {rate / base:8.2f} {figures['compile_seconds']:13.1f} {figures['memory']:17.2f}")
    if arguments.out:
        arguments.out.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
