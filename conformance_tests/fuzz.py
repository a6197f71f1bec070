"""Mutated files against every reader: only ``GPTError``s, no crash, no hang, no memory.

    python conformance_tests/fuzz.py [COUNT] [SEED]

COUNT files a reader (default 100,000). A file that breaks a reader is kept in the current folder; the status is 1 then.
"""

import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from checkpoint_data import save

from gptcore.checkpoint.dtypes import STORAGE
from gptcore.checkpoint.folder import read_tensors
from gptcore.checkpoint.formats import FORMATS
from gptcore.errors import GPTError
from gptcore.parameters import Head

INTERESTING = (0, 1, 127, 128, 255)
SECONDS, MEGABYTES = 5, 100


def mutated(whole, stream):
    """Some bytes changed, most of them near the front, where the structure is; sometimes the end is cut off."""
    data = bytearray(whole)
    for _ in range(stream.choice((1, 1, 2, 4, 16))):
        reach = len(data) if stream.random() < 0.4 else min(len(data), 4096)
        place = stream.randrange(reach)
        data[place] = stream.choice((*INTERESTING, stream.randrange(256), data[place] ^ 1 << stream.randrange(8)))
    return data[: stream.randrange(len(data))] if stream.random() < 0.1 else data


def fuzz(form, count, seed):
    """The number of files that broke the reader of a format."""
    stream, broken, slowest = random.Random(f"{form}/{seed}"), 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        whole = (save(Path(folder), Head.LM, form=form) / FORMATS[form].file_name).read_bytes()
        path = Path(folder) / "mutated"
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(count):
            data = mutated(whole, stream)
            path.write_bytes(data)
            start = time.monotonic()
            try:
                for tensor in read_tensors(path, allow_pickle=True):
                    if tensor.dtype in STORAGE:
                        tensor.read()
            except GPTError:
                pass
            except BaseException as error:
                broken += 1
                Path(f"broken-{form}-{number}").write_bytes(data)
                print(f"{form} {number}: {type(error).__name__}: {error}", flush=True)
            slowest = max(slowest, time.monotonic() - start)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(
        f"{form}: {count:,} files, {broken} broke it, slowest {slowest:.2f} s, {grown:.0f} MB more memory", flush=True
    )
    return broken + (slowest > SECONDS) + (grown > MEGABYTES)


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    count, seed = (*given, *(100_000, 0)[len(given) :])
    sys.exit(sum(fuzz(form, count, seed) for form in FORMATS) > 0)
