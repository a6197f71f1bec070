"""The commands of ``docs/guides/many-machines.md`` run as they are there, and give the losses of one process."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from training_data import TEXT, free_port, tokenizer

from gptcore.training import read_log

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "many-machines.md").read_text()
SETTINGS, *COMMANDS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
NO_DROPOUT = "".join(f" --config {name}_pdrop=0" for name in ("resid", "embd", "attn"))
TOLERANCE = 1e-5


def shell(folder, command):
    """What a command prints, in a folder with a text and a vocabulary."""
    ports = {"PORT": str(free_port()), "OTHER_PORT": str(free_port())}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, **ports, "PATH": path, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    script = f'{SETTINGS}\nSETTINGS="$SETTINGS{NO_DROPOUT}"\n{command}'
    return subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("machines")
    (folder / "books").mkdir()
    shutil.copy(TEXT, folder / "books" / "a.txt")
    tokenizer().save_pretrained(folder / "words")
    return folder


def losses(run):
    return [record["loss"] for record in read_log(run / "log.jsonl")]


def test_there_is_a_command_for_each_engine():
    names = "".join(COMMANDS)
    assert len(COMMANDS) == 5
    assert all(name in names for name in ("torchrun", "accelerate launch", "fsdp", "JAX_COORDINATOR", "TF_CONFIG"))


def test_commands_of_the_page(backend, run, folder, monkeypatch):
    monkeypatch.chdir(folder)
    settings = re.search('"(.*)"', SETTINGS, re.DOTALL)[1] + NO_DROPOUT
    alone = f"train lm {settings} --backend {backend.name} --output runs/{backend.name}-alone"
    assert run(*shlex.split(alone))[0] == 0
    for command in COMMANDS:
        if f"--backend {backend.name} " in command:
            done = shell(folder, command)
            assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
            output = folder / re.search(r"--output (\S+)", command)[1]
            np.testing.assert_allclose(losses(output), losses(folder / f"runs/{backend.name}-alone"), rtol=TOLERANCE)
            assert (output / "last" / "model.safetensors").is_file()
            assert (output / "curve.png").is_file()
