"""Contestants in processes of their own, taking turns; what the benchmarks share."""

import json
import os
import statistics
import subprocess
from pathlib import Path

CONTESTANTS = Path(__file__).parent / "contestants"
WEIGHTS = 116_534_784


class Process:
    """A contestant in a process of its own; see ``contestants/protocol.py``."""

    def __init__(self, name, python, script, settings, environment=None, tasks=None):
        self.name, self.tasks = name, tasks or {}
        self.seconds = {task: [] for task in self.tasks}
        self.first, self.memory = {}, {}
        self.process = subprocess.Popen(
            [python, "-W", "ignore", str(CONTESTANTS / f"{script}.py"), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self.loaded = self._answer()

    def do(self, **task):
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def run(self, task):
        """Do a task once more."""
        answer = self.do(**self.tasks[task])
        self.first.setdefault(task, answer["seconds"])
        self.seconds[task].append(answer["seconds"])
        self.memory[task] = max(self.memory.get(task, 0), answer["peak_memory"])

    def figures(self, task):
        """Tokens per second without the first call, how much slower that was, and memory relative to the weights."""
        setting, seconds = self.tasks[task], self.seconds[task]
        median = statistics.median(seconds[1:] or seconds)
        return {
            "tokens_per_second": setting["batch"] * setting.get("new", setting["length"]) / median,
            "seconds": seconds,
            "compile_seconds": max(self.first[task] - median, 0),
            "memory": self.memory[task] / (4 * WEIGHTS),
        }

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with status {self.process.wait()}")
        return json.loads(line)


def write_checkpoint(folder):
    """Fresh weights: speed does not depend on them."""
    from gptcore.checkpoint import fresh_values, save_pretrained
    from gptcore.spec import Head, OpenAIGPTConfig

    config = OpenAIGPTConfig()
    save_pretrained(folder, config, Head.LM, "float32", fresh_values(config, Head.LM, "float32", 0))
