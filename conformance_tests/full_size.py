"""The released model's size, 116,534,784 parameters at trained scale: accuracy, loading time and memory.

    python conformance_tests/full_size.py

Takes some ten minutes and 8 GB, writes its tables into ``docs/verified/benchmarks.md``, and exits with status 1 when a
tolerance or the bound on memory is broken.
"""

import json
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from trained_scale import trained_scale

from gptcore.backends import load_backend
from gptcore.checkpoint import save_pretrained
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head
from gptcore.verify import Report, verify

PAGE = Path(__file__).parent.parent / "docs" / "verified" / "benchmarks.md"
BACKENDS = ("torch", "tf", "flax")
SHAPES = ((1, 512), (4, 128))
MEMORY_BOUND = 1.3  # peak over the bare import, in sizes of the file

LOAD = """
import json, sys, time
from pathlib import Path

def peak(name):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(name))

from gptcore.backends import load_backend
from gptcore.spec.parameters import Head
backend = load_backend(sys.argv[1])
backend.versions()
before = peak("VmRSS")
start = time.perf_counter()
model = backend.load(sys.argv[2], Head.LM)
seconds = time.perf_counter() - start
print(json.dumps([seconds, peak("VmHWM") - before]))
"""

PEER = """
import json, sys, time
import torch
from safetensors.torch import load_file
start = time.perf_counter()
tensors = {name: tensor.clone() for name, tensor in load_file(sys.argv[2] + "/model.safetensors").items()}
print(json.dumps([time.perf_counter() - start, 0]))
"""


def run(script, backend, folder):
    """What a script prints, in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", script, backend, str(folder)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure_loading(folder, rounds=5):
    """Backend -> median seconds with a warm page cache, the same over the peer's, peak memory over file size."""
    size = (folder / "model.safetensors").stat().st_size
    loads = {backend: [] for backend in BACKENDS}
    peer = []
    for _ in range(rounds):  # interleaved: a slow minute of the machine meets all of them
        peer.append(run(PEER, "", folder)[0])
        for backend in BACKENDS:
            loads[backend].append(run(LOAD, backend, folder))
    return {
        backend: (
            statistics.median(seconds for seconds, _ in measured),
            statistics.median(seconds / other for (seconds, _), other in zip(measured, peer, strict=True)),
            max(memory for _, memory in measured) / size,
        )
        for backend, measured in loads.items()
    }


def accuracy_table(reports: list[Report]):
    """Markdown: the largest error of each backend, and of the two that are furthest apart; share of the tolerance."""
    names = [backend.name for backend in reports[0].backends]
    lines = [
        f"| dtype | tokens | largest error of | {' | '.join(names)} | furthest apart |",
        "|---|---|---|" + "---:|" * 4,
    ]
    for report in reports:
        head = f"| {report.dtype} | {report.shape[0]} x {report.shape[1]}"
        by_quantity = zip(*(backend.errors for backend in report.backends), strict=True)
        logits, _, gradients = (" | ".join(map(figure, errors)) for errors in by_quantity)
        furthest = figure(max(report.pairwise.values(), key=lambda error: error.scaled))
        lines += [f"{head} | logits | {logits} | {furthest} |", f"{head} | gradients | {gradients} | |"]
    return lines


def figure(error):
    return f"{error.largest:.1e} ({error.scaled / error.tolerance:.2g})"


def loading_table(loads, size):
    """Markdown: time and memory."""
    lines = [
        f"| loading {size / 1e6:.0f} MB, warm | seconds | time / `safetensors.torch` | peak memory / file |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {seconds:.2f} | {ratio:.1f} | {peak:.2f} |" for name, (seconds, ratio, peak) in loads.items()
    ]
    return lines


def main():
    backends = [load_backend(name) for name in BACKENDS]
    config = OpenAIGPTConfig()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_pretrained(folder, config, Head.LM, "float32", trained_scale(config, Head.LM))
        size = (folder / "model.safetensors").stat().st_size
        loads = measure_loading(folder)
        reports = []
        for dtype in ("float32", "float64"):
            for batch, length in SHAPES:
                reports.append(verify(folder, backends, dtype=dtype, batch=batch, length=length))
    versions = [f"{name} {number}" for b in reports[0].backends for name, number in b.versions.items()]
    lines = [
        *accuracy_table(reports),
        "",
        "In parentheses: the error divided by its tolerance; above 1 fails. "
        "Gradient errors are relative to each tensor's largest entry.",
        "",
        *loading_table(loads, size),
        "",
        f"With {', '.join(versions)}, on a CPU.",
    ]
    print("\n".join(lines))
    text = PAGE.read_text()
    start, end = "<!-- parity table -->\n", "<!-- /parity table -->"
    table = "\n".join(lines) + "\n"
    PAGE.write_text(re.sub(f"{start}.*{end}", lambda _: start + table + end, text, flags=re.DOTALL))
    passed = all(report.passed for report in reports)
    sys.exit(0 if passed and all(peak < MEMORY_BOUND for _, _, peak in loads.values()) else 1)


if __name__ == "__main__":
    main()
