"""The largest share of its tolerance that each quantity reaches, with the CPU instructions of other machines.

    python conformance_tests/instruction_sets.py

Every case in every dtype, in a process for each framework and instruction set. Exit status 1 if any share is above 2/3:
a tolerance has to have room for the next machine.
"""

import collections
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

LARGEST_SHARE = 2 / 3
BACKENDS = ("torch", "tf", "flax")
# What limits XLA, oneDNN, and PyTorch's own kernels; TensorFlow's own are compiled for AVX, whatever the machine has.
INSTRUCTION_SETS = {
    "all of this CPU": ("", "", ""),
    "AVX2": ("--xla_cpu_max_isa=AVX2", "AVX2", "avx2"),
    "SSE4.2": ("--xla_cpu_max_isa=SSE4_2", "SSE41", "default"),
}
DTYPES = ("float32", "float64", "bfloat16", "float16")
# TensorFlow asks the CPU, not this limit, whether oneDNN can multiply bfloat16, and then crashes. Without oneDNN it
# multiplies as on a CPU without those instructions.
WITHOUT_ONEDNN = {"TF_ENABLE_ONEDNN_OPTS": "0"}


def largest_shares(name, dtypes):
    """Print dtype, kind, largest share, and where, for one framework in this process."""
    from ladder import all_cases, quantities

    from gptcore.backends import load_backend

    backend, largest = load_backend(name), collections.defaultdict(lambda: (0.0, ""))
    for case in all_cases():
        for dtype in dtypes:
            for attention in ("sdpa", "eager") if dtype == "float32" else ("sdpa",):
                for quantity in quantities(backend, case, dtype, attention):
                    share = np.nan_to_num(quantity.error / quantity.tolerance, nan=np.inf)
                    where = f"{case.name}: {quantity.name}"
                    largest[dtype, quantity.kind] = max(largest[dtype, quantity.kind], (share, where))
    for (dtype, kind), (share, where) in largest.items():
        print(dtype, kind, f"{share:.3f}", where, sep="\t")


def without(dtype):
    return [other for other in DTYPES if other != dtype]


def main():
    print("| instructions | framework | dtype | kind | largest share | where |\n|---|---|---|---|---:|---|")
    passed = True
    for instructions, (xla, onednn, aten) in INSTRUCTION_SETS.items():
        limits = {"XLA_FLAGS": xla, "ONEDNN_MAX_CPU_ISA": onednn, "ATEN_CPU_CAPABILITY": aten}
        limits = {name: value for name, value in limits.items() if value}
        for name in BACKENDS:
            runs = [(DTYPES, limits)]
            if (name, instructions) == ("flax", "SSE4.2"):  # XLA calls a conversion from float16 that it does not have
                runs = [(without("float16"), limits)]
            if name == "tf" and onednn:
                runs = [(without("bfloat16"), limits), (["bfloat16"], limits | WITHOUT_ONEDNN)]
            for dtypes, variables in runs:
                command = [sys.executable, "-W", "ignore", __file__, name, *dtypes]
                environment = {**os.environ, **variables}
                shares = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
                for line in shares.splitlines():
                    dtype, kind, share, where = line.split("\t")
                    print(f"| {instructions} | {name} | {dtype} | {kind} | {float(share):.0%} | {where} |", flush=True)
                    passed = passed and float(share) <= LARGEST_SHARE
    sys.exit(0 if passed else f"a share is above {LARGEST_SHARE:.0%}")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, str(Path(__file__).parent))
    if len(sys.argv) > 1:
        largest_shares(sys.argv[1], sys.argv[2:])
    else:
        main()
