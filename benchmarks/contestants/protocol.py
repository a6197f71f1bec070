"""How a contestant communicates: one task per line, as JSON, on standard input; one answer per line on standard output.

A contestant is a class with a method for each task it knows. It runs in a process and an environment of its own, stays
there while the others have their turn, and measures itself.
"""

import json
import sys
import time

import numpy as np

VOCAB_SIZE, N_POSITIONS, N_EMBD, N_LAYER, N_HEAD = 40478, 512, 768, 12, 12


def prompt(batch, length, seed=0):
    """The same ids for everybody, (batch, length) int64."""
    return np.random.default_rng(seed).integers(1, VOCAB_SIZE, (batch, length), dtype=np.int64)


def memory(name):
    """``VmRSS`` or ``VmHWM`` of this process in bytes."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))


def serve(make):
    """Build a contestant from the settings in the first argument, then do tasks until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries print; only answers go where they are read
    imported = memory("VmRSS")
    start = time.perf_counter()
    contestant = make(**json.loads(sys.argv[1]))
    seconds = time.perf_counter() - start
    print(json.dumps({"load_seconds": seconds, "memory": memory("VmRSS") - imported}), file=answers, flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak of this task, not of an earlier one
        start = time.perf_counter()
        result = getattr(contestant, task.pop("task"))(**task)
        seconds = time.perf_counter() - start
        answer = {"seconds": seconds, "peak_memory": memory("VmHWM") - imported, "result": result}
        print(json.dumps(answer), file=answers, flush=True)
