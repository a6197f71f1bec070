"""Fine-tuning on multiple choice, idiomatic JAX: a model with two heads, optax without nnx.Optimizer, jax.jit.

    python examples/flax/run_multiple_choice.py copa.jsonl --output runs/copa

Rows have ``context``, ``choice1``, ``choice2`` and ``label``, the index of the right one. Every tenth is held out.
"""

import argparse
import functools

import grain
import jax
import numpy as np
import optax
from flax import nnx

from gpt_flax import FlaxOpenAIGPTDoubleHeadsModel
from gpt_flax.training import adamw
from gptcore import DEFAULT_MODEL
from gptcore.storage import read_table
from gptcore.training import FINE_TUNING, TASKS, TaskExamples, add_task_tokens, once
from tokenization import OpenAIGPTTokenizerFast


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", help="a .jsonl, .csv or .tsv file")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="default: the bundled model")
    parser.add_argument("--output", required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--learning_rate", type=float, default=FINE_TUNING.learning_rate)
    arguments = parser.parse_args()

    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(arguments.model)
    vocab_size = add_task_tokens(tokenizer, "choice")
    columns = (*TASKS["choice"].columns, "label")
    rows = read_table(arguments.rows, columns)
    model = FlaxOpenAIGPTDoubleHeadsModel.from_pretrained(arguments.model)
    model.resize_token_embeddings(vocab_size)
    training, held_out = (
        TaskExamples("choice", part, tokenizer, model.config)
        for part in ([row for i, row in enumerate(rows) if i % 10], rows[::10])
    )

    recipe = FINE_TUNING.replace(learning_rate=arguments.learning_rate, epochs=arguments.epochs)
    shuffled = grain.MapDataset.source(training).seed(0).shuffle().repeat(arguments.epochs)
    batches = shuffled.batch(recipe.batch_size, batch_fn=lambda rows: arguments_of(training.collate(rows)))
    optimizer = adamw(model, recipe, len(batches))

    model.train()
    graph, weights, others = nnx.split(model, nnx.Param, ...)  # a pure function of its weights and of its dropout state
    optimizer_state = optimizer.init(weights)

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def train_step(weights, others, optimizer_state, batch):
        def loss(weights, others):
            model = nnx.merge(graph, weights, others, copy=True)
            output = model(**batch)
            return output.mc_loss + recipe.lm_coefficient * output.loss, nnx.state(model, nnx.Not(nnx.Param))

        (value, others), gradients = jax.value_and_grad(loss, has_aux=True)(weights, others)
        changes, optimizer_state = optimizer.update(gradients, optimizer_state, weights)
        return optax.apply_updates(weights, changes), others, optimizer_state, value

    for step, batch in enumerate(batches):
        weights, others, optimizer_state, loss = train_step(weights, others, optimizer_state, batch)
        if step % 10 == 0 or step == len(batches) - 1:
            print(f"step {step}: loss {loss:.4f}")

    nnx.update(model, weights, others)
    model.eval()
    answers = nnx.jit(lambda model, batch: model(**batch).mc_logits.argmax(-1))
    right = [
        np.asarray(answers(model, batch)) == batch["mc_labels"]
        for batch in map(arguments_of, once(held_out, recipe.batch_size, held_out.collate))
    ]
    print(f"accuracy {np.concatenate(right).mean():.4f}")
    model.save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)


def arguments_of(batch):
    """A batch as arguments of the model, sequences in (batch, choice, token)."""
    return {
        "input_ids": batch["input_ids"],
        "labels": batch["labels"],
        "mc_token_ids": batch["extract_positions"],
        "mc_labels": batch["targets"],
    }


if __name__ == "__main__":
    main()
