"""Processes or devices together give the losses of one: torchrun with DDP and FSDP, meshes, strategies."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpoint_data import values
from training_data import RECIPE, config, free_port, lm_batches, trainer_of

from gptcore.checkpoint import save_pretrained
from gptcore.spec.parameters import Head

WORKER = Path(__file__).parent / "worker.py"
STEPS = 6
TOLERANCE = 1e-5


def torch_processes(way):
    port = free_port()
    for rank in (0, 1):
        yield {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": 2,
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": port,
            "WAY": way,
        }


def jax_processes(way):
    if way == "mesh":
        yield {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "WAY": way}
        return
    port = free_port()
    for rank in (0, 1):
        yield {
            "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
            "JAX_NUM_PROCESSES": 2,
            "JAX_PROCESS_ID": rank,
            "WAY": way,
        }


def tf_processes(way):
    if way == "mirrored":
        yield {"WAY": way}
        return
    workers = [f"localhost:{free_port()}" for _ in range(2)]
    for rank in (0, 1):
        setting = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}}
        yield {"TF_CONFIG": json.dumps(setting), "WAY": way}


WAYS = {
    "torch": {"ddp": torch_processes, "fsdp": torch_processes},
    "flax": {"mesh": jax_processes, "processes": jax_processes},
    "tf": {"mirrored": tf_processes, "workers": tf_processes},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder, settings = tmp_path_factory.mktemp("checkpoint"), config(vocab_size=420)  # which can be halved
    save_pretrained(folder, settings, Head.LM, "float32", values(Head.LM, "float32", settings))
    return folder


@functools.cache
def alone(backend, checkpoint, recipe):
    """The results of each step in one process."""
    trainer, batches = trainer_of(backend, checkpoint, Head.LM, recipe, STEPS), lm_batches(recipe)
    return [trainer.step(step, batches[step]) for step in range(STEPS)]


@pytest.mark.parametrize("number", [0, 1])
def test_as_one_process(backend, number, checkpoint, tmp_path):
    """A run with batches of one row; on a mesh, which no page has a command for, also with whole ones."""
    way = list(WAYS[backend.name])[number]
    sizes = (None, 1) if way == "mesh" else (1,)
    recipes = {tmp_path / str(size): RECIPE.replace(batch_size=8, micro_batch_size=size) for size in sizes}
    for folder, recipe in recipes.items():
        folder.mkdir()
        recipe.write(folder / "recipe.yaml")
    spread(backend.name, way, checkpoint, recipes)
    for folder, recipe in recipes.items():
        found = json.loads((folder / "losses.json").read_text())
        assert found["ways"] == (8 if way == "mesh" else 2)
        expected = alone(backend, checkpoint, recipe)
        for name in ("loss", "grad_norm"):
            np.testing.assert_allclose([r[name] for r in found["results"]], [r[name] for r in expected], rtol=TOLERANCE)
        assert (folder / "run" / "step-00000006" / "optimizer.safetensors").is_file()
        np.testing.assert_allclose(found["resumed"], found["evaluated"], rtol=1e-6)


def spread(name, way, checkpoint, folders):
    """Run ``worker.py`` in as many processes as a way has."""
    command = [sys.executable, "-W", "ignore", *map(str, (WORKER, name, checkpoint, *folders))]
    root = Path(__file__).parents[2]
    paths = [str(root), str(root / "conformance_tests"), str(root / "tests" / "support")]
    processes = []
    for settings in WAYS[name][way](way):
        environment = {**os.environ, **{key: str(value) for key, value in settings.items()}}
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(
        text[-3000:] for text in outputs
    )
