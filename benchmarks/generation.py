"""Generation and the forward pass against others, in one run: one process each, taking turns; ratios of medians.

    python benchmarks/generation.py --peer-python PYTHON

``PYTHON`` has transformers 4.57.6, KerasHub and CTranslate2; without it, our three frameworks run among themselves.
Speed is only comparable within one run: the ratios count, not the tokens per second.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CONTESTANTS = Path(__file__).parent / "contestants"
OURS = ("torch", "tf", "flax")
TASKS = {
    "32 + 128": {"task": "greedy", "batch": 1, "length": 32, "new": 128},
    "32 + 480": {"task": "greedy", "batch": 1, "length": 32, "new": 480},
    "batch 16, 32 + 128": {"task": "greedy", "batch": 16, "length": 32, "new": 128},
    "forward 1 x 512": {"task": "forward", "batch": 1, "length": 512},
}
PEERS = {  # script, settings, environment, the tasks it has
    "transformers GPT-1": ("transformers_gpt1", {"checkpoint": "CHECKPOINT"}, {}, tuple(TASKS)),
    "transformers GPT-2": ("transformers_gpt2", {}, {}, tuple(TASKS)[:3]),
    "KerasHub GPT-2, TensorFlow": ("keras_hub_gpt2", {}, {"KERAS_BACKEND": "tensorflow"}, tuple(TASKS)[:3]),
    "CTranslate2 GPT-2": ("ctranslate2_gpt2", {}, {}, tuple(TASKS)),
    "CTranslate2 GPT-2, int8": ("ctranslate2_gpt2", {"compute_type": "int8"}, {}, tuple(TASKS)[:3]),
}


class Process:
    """A contestant in a process of its own; see ``contestants/protocol.py``."""

    def __init__(self, name, python, script, settings, environment=None, tasks=tuple(TASKS)):
        self.name, self.tasks = name, tasks
        self.seconds = {task: [] for task in tasks}
        self.first, self.memory = {}, 0
        self.process = subprocess.Popen(
            [python, "-W", "ignore", str(CONTESTANTS / f"{script}.py"), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self.loaded = self._answer()

    def run(self, task):
        self.process.stdin.write(json.dumps(TASKS[task]) + "\n")
        self.process.stdin.flush()
        answer = self._answer()
        self.memory = max(self.memory, answer["peak_memory"])
        return answer["seconds"]

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with status {self.process.wait()}")
        return json.loads(line)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", help="a Python with the libraries to compare with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--task", action="append", choices=TASKS, help="default: all")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    arguments = parser.parse_args()
    tasks = arguments.task or list(TASKS)
    with tempfile.TemporaryDirectory() as checkpoint:
        write_checkpoint(checkpoint)
        everybody = [
            Process(f"gptcore, {name}", sys.executable, "ours", {"backend": name, "checkpoint": checkpoint})
            for name in OURS
        ]
        for name, (script, settings, environment, known) in PEERS.items() if arguments.peer_python else ():
            settings = {key: checkpoint if value == "CHECKPOINT" else value for key, value in settings.items()}
            everybody.append(Process(name, arguments.peer_python, script, settings, environment, known))
        for task in tasks:
            racing = [contestant for contestant in everybody if task in contestant.tasks]
            for contestant in racing:
                contestant.first[task] = contestant.run(task)  # compiles
            for _ in range(arguments.rounds):
                for contestant in racing:
                    contestant.seconds[task].append(contestant.run(task))
            show(task, racing)
    if arguments.json:
        arguments.json.write_text(json.dumps([figures(contestant) for contestant in everybody], indent=2))


def write_checkpoint(folder):
    """Fresh weights: speed does not depend on them."""
    from gptcore.checkpoint import fresh_values, save_pretrained
    from gptcore.config import OpenAIGPTConfig
    from gptcore.parameters import Head

    config = OpenAIGPTConfig()
    save_pretrained(folder, config, Head.LM, "float32", fresh_values(config, Head.LM, "float32", 0))


def show(task, racing):
    """One table: tokens a second, and how many times the first peer's."""
    setting = TASKS[task]
    tokens = setting["batch"] * setting.get("new", setting["length"])
    medians = {contestant.name: statistics.median(contestant.seconds[task]) for contestant in racing}
    peer = next((name for name in medians if name in PEERS), next(iter(medians)))
    print(f"{task}: tokens/s, times {peer}, first call in seconds, peak memory in GB")
    for contestant in racing:
        median = medians[contestant.name]
        print(
            f"  {contestant.name:28} {tokens / median:8.1f} {medians[peer] / median:7.2f} "
            f"{contestant.first[task]:7.1f} {contestant.memory / 1e9:6.2f}",
            flush=True,
        )


def figures(contestant):
    return {
        "name": contestant.name,
        "load": contestant.loaded,
        "first_call": contestant.first,
        "seconds": contestant.seconds,
        "peak_memory": contestant.memory,
    }


if __name__ == "__main__":
    main()
