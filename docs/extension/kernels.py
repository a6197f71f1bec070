"""IPython kernels that run the blocks of the pages: one per framework, for the whole build."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from agreement import Result
from jupyter_client.manager import start_new_kernel

ROOT = Path(__file__).parents[2]
SCRIPTS = ("examples", "conformance_tests")
LIMIT = 300  # seconds for one block
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", "COLUMNS": "100", "NO_COLOR": "1"}
ENVIRONMENT["OMP_NUM_THREADS"] = "1"  # three kernels with a thread per core each would wait for each other


class Kernel:
    """An IPython kernel that outlives the pages, so that each framework is imported once."""

    def __init__(self) -> None:
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": path}
        self.manager, self.client = start_new_kernel(env=environment, stderr=subprocess.DEVNULL)
        self.run("import in_kernel as _pages")

    def run(self, code: str) -> Result:
        """Run code, and collect its output."""
        result = Result()

        def collect(message: dict) -> None:
            content = message["content"]
            match message["msg_type"]:
                case "stream" if content["name"] == "stdout":
                    result.text += content["text"]
                case "error":
                    result.error = COLOUR.sub("", "\n".join(content["traceback"]))
                case "display_data" | "execute_result":
                    if "image/svg+xml" in content["data"]:
                        result.pictures.append(content["data"]["image/svg+xml"].encode())
                    elif "text/plain" in content["data"]:
                        result.text += content["data"]["text/plain"] + "\n"

        self.client.execute_interactive(code, output_hook=collect, allow_stdin=False, timeout=LIMIT)
        return result

    def begin(self, folder: Path) -> None:
        """Forget the names of the last page, and work in the folder of the next one."""
        self.run(f"_pages.begin({str(folder)!r})")

    def stop(self) -> None:
        """End the process."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


class Kernels:
    """The kernels of the frameworks, and the folders of the page that they run."""

    def __init__(self) -> None:
        self.kernels: dict[str, Kernel] = {}
        self.folder = Path(tempfile.mkdtemp())
        self.page = ""
        self.count = 0

    def of(self, framework: str) -> Kernel:
        """The kernel of a framework, started on first use."""
        if framework not in self.kernels:
            self.kernels[framework] = Kernel()
            self.kernels[framework].begin(self.place(framework))
        return self.kernels[framework]

    def place(self, framework: str) -> Path:
        """The working folder of a framework on this page; command lines share PyTorch's.

        It is empty. Beside it are the scripts of the repository, as if the reader had made it in a clone.
        """
        path = self.folder / self.page / framework
        path.mkdir(parents=True, exist_ok=True)
        for name in SCRIPTS:
            if not (link := path.parent / name).exists():
                link.symlink_to(ROOT / name)
        return path

    def turn_to(self, page: str) -> None:
        """Begin a page."""
        self.page, self.count = page, 0
        for framework, kernel in self.kernels.items():
            kernel.begin(self.place(framework))

    def run(self, framework: str, code: str) -> Result:
        """Run a block, and load the arrays that it named."""
        kernel = self.of(framework)
        result = kernel.run(code)
        if not result.error:
            file = self.folder / f"{framework}.npz"
            result.error = kernel.run(f"_pages.save({str(file)!r})").error
        if not result.error:
            with np.load(file) as arrays:
                result.arrays = dict(arrays)
        return result

    def stop(self) -> None:
        """End all processes, and delete their files."""
        for kernel in self.kernels.values():
            kernel.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
