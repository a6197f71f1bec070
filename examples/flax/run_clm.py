"""Language modelling, idiomatic JAX: grain for the data, optax and nnx for a jitted step, orbax for checkpoints.

    gptcore tokenizer train book.txt --output words --vocab-size 1000
    python examples/flax/run_clm.py book.txt --tokenizer words --output runs/clm

If it is killed, run the same command again: it resumes from the newest checkpoint in OUTPUT.
"""

import argparse
from pathlib import Path

import grain
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx

from gpt_flax import FlaxOpenAIGPTLMHeadModel, OpenAIGPTConfig
from gpt_flax.training import adamw
from gptcore.training import Blocks, Recipe, tokenize_corpus
from tokenization import OpenAIGPTTokenizerFast


@nnx.jit
def train_step(model, optimizer, batch):
    """One update; returns the loss before it."""
    loss, gradients = nnx.value_and_grad(lambda model: model(**batch).loss)(model)
    optimizer.update(model, gradients)
    return loss


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", help="text files")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--length", type=int, default=128, help="tokens per block")
    arguments = parser.parse_args()

    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(arguments.tokenizer)
    corpus = tokenize_corpus(arguments.files, tokenizer, arguments.output / "corpus")
    config = OpenAIGPTConfig(vocab_size=len(tokenizer), n_positions=arguments.length, n_embd=128, n_layer=2, n_head=4)
    recipe = Recipe(learning_rate=1e-3, warmup_steps=10, batch_size=8, max_steps=arguments.steps)
    dataset = grain.MapDataset.source(Blocks(corpus.ids, arguments.length)).seed(0).shuffle().repeat()
    batches = dataset.batch(recipe.batch_size)

    model = FlaxOpenAIGPTLMHeadModel(config, seed=0)
    model.train()
    optimizer = nnx.Optimizer(model, adamw(model, recipe, recipe.max_steps), wrt=nnx.Param)
    options = ocp.CheckpointManagerOptions(save_interval_steps=100, max_to_keep=2)
    with ocp.CheckpointManager((arguments.output / "checkpoints").absolute(), options=options) as manager:
        first = manager.latest_step() or 0
        if first:
            state = nnx.state((model, optimizer))
            nnx.update((model, optimizer), manager.restore(first, args=ocp.args.StandardRestore(state)))
        for step in range(first, recipe.max_steps):
            loss = train_step(model, optimizer, batches[step])
            if step % 10 == 0 or step == recipe.max_steps - 1:
                print(f"step {step}: loss {loss:.4f}")
            manager.save(step + 1, args=ocp.args.StandardSave(nnx.state((model, optimizer))))

    model.eval()
    model.save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)
    start = np.array([[corpus.ids[0]]], np.int32)
    print(tokenizer.decode(np.asarray(model.generate(start, max_new_tokens=20, do_sample=True, seed=0)[0])))


if __name__ == "__main__":
    main()
