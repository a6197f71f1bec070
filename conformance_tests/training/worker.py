"""One process of a distributed run: ``python worker.py BACKEND CHECKPOINT FOLDER...``; the environment says the rest.

Each folder has a recipe, and gets the results of a run with it.
"""

import json
import os
import sys
from pathlib import Path

from training_data import lm_batches

from gptcore.backends.training import load_trainers
from gptcore.spec.parameters import Head
from gptcore.spec.recipe import Recipe
from gptcore.training import Checkpoints

STEPS = 6


def trainer_of(name, checkpoint, recipe):
    """A trainer, distributed as ``WAY`` says."""
    way = os.environ["WAY"]
    if way == "fsdp":
        from accelerate import Accelerator, FullyShardedDataParallelPlugin

        from gpt_torch import OpenAIGPTLMHeadModel
        from gpt_torch.training import Trainer

        plugin = FullyShardedDataParallelPlugin(
            fsdp_version=2, auto_wrap_policy="transformer_based_wrap", transformer_cls_names_to_wrap=["Block"]
        )
        accelerator = Accelerator(cpu=True, fsdp_plugin=plugin)
        model = OpenAIGPTLMHeadModel.from_pretrained(checkpoint)
        return Trainer(model, recipe, STEPS, distribution=accelerator)
    if way == "mesh":
        import jax

        from gpt_flax import FlaxOpenAIGPTLMHeadModel
        from gpt_flax.training import Trainer

        mesh = jax.make_mesh((4, 2), ("data", "tensor"))
        return Trainer(FlaxOpenAIGPTLMHeadModel.from_pretrained(checkpoint), recipe, STEPS, distribution=mesh)
    if way == "mirrored":
        import tensorflow as tf

        from gpt_tf import TFOpenAIGPTLMHeadModel
        from gpt_tf.training import Trainer

        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
        )
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        with strategy.scope():
            model = TFOpenAIGPTLMHeadModel.from_pretrained(checkpoint)
        return Trainer(model, recipe, STEPS, distribution=strategy)
    return load_trainers(name)(checkpoint, Head.LM, recipe, STEPS)


def ways_of(trainer):
    """Over how many processes or devices the framework itself says that it is spread."""
    if hasattr(trainer, "accelerator"):
        return trainer.accelerator.num_processes
    return trainer.strategy.num_replicas_in_sync if hasattr(trainer, "strategy") else trainer.mesh.devices.size


def train(name, checkpoint, folder):
    recipe = Recipe.read(Path(folder) / "recipe.yaml")
    trainer = trainer_of(name, checkpoint, recipe)
    batches = lm_batches(recipe)
    results = [trainer.step(step, batches[step]) for step in range(STEPS)]
    checkpoints = Checkpoints(Path(folder) / "run", {})
    checkpoints.save(STEPS, trainer)
    evaluated = float(trainer.evaluate(batches[0])["lm_loss"])
    if trainer.is_main:
        (Path(folder) / "saved").touch()
    while not (Path(folder) / "saved").exists():
        pass
    checkpoints.restore(trainer)
    resumed = float(trainer.evaluate(batches[0])["lm_loss"])
    if trainer.is_main:
        found = {"results": results, "ways": ways_of(trainer), "evaluated": evaluated, "resumed": resumed}
        (Path(folder) / "losses.json").write_text(json.dumps(found))


def main(name, checkpoint, *folders):
    for folder in folders:
        train(name, checkpoint, folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
