"""``gptcore convert`` at full size, from and to every format: time, relative to a plain copy, and memory.

    python benchmarks/conversion.py [--out FILE]

Each conversion is a process of its own and includes the comparison of every value afterwards. A copy is 466 MB
through ``shutil.copyfile``, flushed to the disk as a conversion's files are. Memory is the peak of the
conversion minus the memory after the imports. It includes mapped pages, which the system can reclaim at any time.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from racing import CONTESTANTS, write_checkpoint

from gptcore.checkpoint import WRITABLE

CONVERT = """
import json, sys, time
import h5py  # before memory is measured
from protocol import memory
from gptcore.checkpoint import open_checkpoint
from gptcore.convert import convert_checkpoint
source, target, form = sys.argv[1:]
# Not getrusage, which begins with the peak of the process that started this one.
before, start = memory("VmRSS"), time.perf_counter()
convert_checkpoint(open_checkpoint(source, allow_pickle=True), target, form)
print(json.dumps({"seconds": time.perf_counter() - start, "megabytes": (memory("VmHWM") - before) / 1024**2}))
"""


def copied(source, target):
    """Seconds that a copy takes."""
    start = time.perf_counter()
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return time.perf_counter() - start


def converted(source, target, form):
    """What a conversion takes."""
    shutil.rmtree(target, ignore_errors=True)
    command = [sys.executable, "-c", CONVERT, str(source), str(target), form]
    environment = {**os.environ, "PYTHONPATH": str(CONTESTANTS)}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a file for the figures")
    arguments = parser.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = folder / "safetensors"
        write_checkpoint(plain)
        forms = [form for form in WRITABLE if form != "safetensors"]
        for _ in range(arguments.rounds):
            figures.setdefault("copy", []).append(
                {"seconds": copied(plain / "model.safetensors", folder / "copy"), "megabytes": 0}
            )
            for form in forms:
                there, back = folder / form, folder / "back"
                figures.setdefault(f"to {form}", []).append(converted(plain, there, form))
                figures.setdefault(f"from {form}", []).append(converted(there, back, "safetensors"))
    table = {
        name: {key: statistics.median(run[key] for run in runs) for key in ("seconds", "megabytes")}
        for name, runs in figures.items()
    }
    for name, row in table.items():
        times = row["seconds"] / table["copy"]["seconds"]
        print(f"{name:18} {row['seconds']:6.2f} s {times:6.1f} x copy {row['megabytes']:7.0f} MB")
    if arguments.out:
        arguments.out.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
