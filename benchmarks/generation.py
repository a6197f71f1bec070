"""Compare the speed of generation and of the forward pass with other libraries, in processes that alternate.

    python benchmarks/generation.py --peer-python PYTHON --out FOLDER

``PYTHON`` has transformers 4.57.6, KerasHub and CTranslate2; without it, only gptcore's three frameworks are
compared. The script writes ``generation.json``, ``.png`` and ``.svg`` to ``FOLDER``. Speed is only comparable
within one run on an idle machine: the ratios count, not the tokens per second.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from racing import WEIGHTS, Process, write_checkpoint

from gptcore.report import DARK, PALE, picture

TASKS = {
    "32 + 128": {"task": "greedy", "batch": 1, "length": 32, "new": 128},
    "32 + 480": {"task": "greedy", "batch": 1, "length": 32, "new": 480},
    "batch 16, 32 + 128": {"task": "greedy", "batch": 16, "length": 32, "new": 128},
    "forward 1 x 512": {"task": "forward", "batch": 1, "length": 512},
}
GREEDY = ("32 + 128", "32 + 480", "batch 16, 32 + 128")
OURS = {  # script, settings, environment, the tasks it has
    "gptcore, torch": ("ours", {"backend": "torch"}, {}, tuple(TASKS)),
    "gptcore, tf": ("ours", {"backend": "tf"}, {}, tuple(TASKS)),
    "gptcore, flax": ("ours", {"backend": "flax"}, {}, tuple(TASKS)),
    "gptcore, torch, bfloat16": ("ours", {"backend": "torch", "dtype": "bfloat16"}, {}, tuple(TASKS)),
    "gptcore, torch, int8": ("ours", {"backend": "torch", "quantization": "int8"}, {}, tuple(TASKS)),
}
PEERS = {
    # Not the batch: without a cache that takes this one seven minutes a time.
    "transformers GPT-1": ("transformers_gpt1", {}, {}, ("32 + 128", "32 + 480", "forward 1 x 512")),
    "transformers GPT-2": ("transformers_gpt2", {}, {}, GREEDY),
    "KerasHub GPT-2, TensorFlow": ("keras_hub_gpt2", {}, {"KERAS_BACKEND": "tensorflow"}, GREEDY),
    "CTranslate2 GPT-2": ("ctranslate2_gpt2", {}, {}, tuple(TASKS)),
    "CTranslate2 GPT-2, int8": ("ctranslate2_gpt2", {"compute_type": "int8"}, {}, GREEDY),
}
# Runs once: five minutes, with nothing to compile.
ONCE = ("transformers GPT-1", "32 + 480")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", help="a Python with the libraries to compare with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--task", action="append", choices=TASKS, help="default: all")
    parser.add_argument("--out", type=Path, help="a folder for all figures and the plot")
    arguments = parser.parse_args()
    results = {"ceilings": {}, "tasks": {}}
    with tempfile.TemporaryDirectory() as checkpoint:
        write_checkpoint(checkpoint)
        ceilings = Process("ceilings", sys.executable, "ceilings", {})
        racing = [start(name, sys.executable, checkpoint, *entry) for name, entry in OURS.items()]
        if arguments.peer_python:
            racing += [start(name, arguments.peer_python, checkpoint, *entry) for name, entry in PEERS.items()]
        for task in arguments.task or TASKS:
            for kind in ("bandwidth", "gemm"):
                found = [ceilings.do(task=kind)["result"] for _ in range(7)]
                results["ceilings"][kind] = max(results["ceilings"].get(kind, 0), *found)
            entered = [contestant for contestant in racing if task in contestant.tasks]
            for _ in range(arguments.rounds + 1):
                for contestant in entered:
                    if (contestant.name, task) != ONCE or not contestant.seconds[task]:
                        contestant.run(task)
            results["tasks"][task] = {contestant.name: contestant.figures(task) for contestant in entered}
            show(task, results)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "generation.json").write_text(json.dumps(results, indent=2) + "\n")
        plot(results, arguments.out / "generation")


def start(name, python, checkpoint, script, settings, environment, tasks):
    if script in ("ours", "transformers_gpt1"):
        settings = {**settings, "checkpoint": checkpoint}
    return Process(name, python, script, settings, environment, {task: TASKS[task] for task in tasks})


def share(task, figures, ceilings):
    """Part of the machine's ceiling that a float32 run of one row reaches: memory to generate, arithmetic otherwise."""
    rate = figures["tokens_per_second"]
    if task.startswith("forward"):
        return 2 * WEIGHTS * rate / ceilings["gemm"]
    return 4 * WEIGHTS * rate / ceilings["bandwidth"]


def show(task, results):
    """One table."""
    ceilings, table = results["ceilings"], results["tasks"][task]
    base = next((name for name in table if name in PEERS), next(iter(table)))
    print(f"\n{task}; this machine reads {ceilings['bandwidth'] / 1e9:.0f} GB/s, {ceilings['gemm'] / 1e9:.0f} GFLOP/s")
    print(f"{'':28} tokens/s  times {base}  % of ceiling  compiling, s  memory / weights")
    for name, figures in table.items():
        rate = figures["tokens_per_second"]
        times = rate / table[base]["tokens_per_second"]
        whole = "" if TASKS[task]["batch"] > 1 or name.split(", ")[-1] in ("int8", "bfloat16") else "yes"
        part = f"{100 * share(task, figures, ceilings):.0f}" if whole else ""
        print(
            f"{name:28} {rate:8.1f} {times:{len(base) + 7}.2f} {part:>13} {figures['compile_seconds']:13.1f} "
            f"{figures['memory']:17.2f}",
            flush=True,
        )


def plot(results, path):
    """Bars of tokens a second, one panel a task."""
    tasks = results["tasks"]
    title = "Speed: longer is faster (32 + 128: a prompt of 32 tokens and 128 new ones)"
    heights = [0.7 + 0.25 * len(table) for table in tasks.values()]
    for ending in ("png", "svg"):
        with picture(f"{path}.{ending}", 8, 1 + sum(heights), title) as figure:
            panels = figure.subplots(len(tasks), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
            for panel, (task, table) in zip(panels, tasks.items(), strict=True):
                names, rates = list(table), [figures["tokens_per_second"] for figures in table.values()]
                bars = panel.barh(names, rates, color=[DARK if name in OURS else PALE for name in names])
                panel.bar_label(bars, fmt="{:,.0f}", padding=3)
                panel.margins(x=0.12)
                panel.invert_yaxis()
                panel.grid(visible=False, axis="y")
                panel.set_title(task, loc="left")
            panels[-1].set_xlabel("tokens per second")


if __name__ == "__main__":
    main()
