"""Mutated files against every reader: only ``GPTError``s, no crash, no hang, no memory.

    python tests/support/fuzz.py [COUNT] [FORMAT ...]

COUNT files a reader (default 100,000), and a tenth of it for Orbax's own stores, whose checksums are made to fit. What
breaks a reader, or takes it over 5 seconds or 100 MB, is kept in the current folder; the status is 1 then.
"""

import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from checkpoint_data import pack, save, sealed

from gptcore.checkpoint.dtypes import STORAGE
from gptcore.checkpoint.folder import WRITABLE, read_tensors
from gptcore.checkpoint.formats import FORMATS
from gptcore.errors import GPTError
from gptcore.spec.parameters import Head

INTERESTING = (0, 1, 127, 128, 255)
SECONDS, MEGABYTES = 5, 100
ADDRESS_SPACE = 8 << 30  # a reader that takes all memory is to fail, not to be killed, and the machine with it
PACKED = "orbax of Orbax"


def mutated(whole, stream):
    """Some bytes changed, most of them near the front, where the structure is; sometimes the end is cut off."""
    data = bytearray(whole)
    for _ in range(stream.choice((1, 1, 2, 4, 16))):
        reach = len(data) if stream.random() < 0.4 else min(len(data), 4096)
        place = stream.randrange(reach)
        data[place] = stream.choice((*INTERESTING, stream.randrange(256), data[place] ^ 1 << stream.randrange(8)))
    return data[: stream.randrange(len(data))] if stream.random() < 0.1 else data


def target(folder, form):
    """What is opened, and the files that it consists of."""
    save(folder, Head.LM, form="orbax" if form == PACKED else form)
    if form == "openai":
        return folder, {file: file.read_bytes() for file in sorted(folder.glob("params_*"))}
    path = folder / FORMATS["orbax" if form == PACKED else form].file_name
    if form == PACKED:
        path = pack(path, folder / "packed", config={"compression": None})
    files = [file for file in sorted(path.rglob("*")) if file.is_file()] if path.is_dir() else [path]
    return path, {file: file.read_bytes() for file in files}


def peak():
    """Megabytes that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def fuzz(form, count):
    """The number of files that broke the reader of a format, or took it too long or too much memory."""
    stream, broken, slowest = random.Random(form), 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        path, files = target(Path(folder), form)
        before = peak()
        for number in range(count):
            file, whole = stream.choice(list(files.items()))
            data, complaint, most = mutated(whole, stream), "", peak()
            file.write_bytes(sealed(data) if form == PACKED else data)
            start = time.monotonic()
            try:
                for tensor in read_tensors(path, allow_pickle=True):
                    if tensor.dtype in STORAGE:
                        tensor.read()
            except GPTError:
                pass
            except BaseException as error:
                complaint = f"{type(error).__name__}: {error}"
            seconds, grown = time.monotonic() - start, peak() - most
            slowest = max(slowest, seconds)
            if complaint or seconds > SECONDS or grown > MEGABYTES:
                broken += 1
                Path(f"broken-{form}-{number}").write_bytes(data)
                print(f"{form} {number}: {complaint or 'read'} in {seconds:.1f} s, {grown} MB more memory", flush=True)
            file.write_bytes(whole)
    found = f"{broken} broke it, slowest {slowest:.2f} s, {peak() - before} MB more memory"
    print(f"{form}: {count:,} files, {found}", flush=True)
    return broken


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    forms = sys.argv[2:] or [*WRITABLE, PACKED]
    sys.exit(sum(fuzz(form, count // 10 if form == PACKED else count) for form in forms) > 0)
