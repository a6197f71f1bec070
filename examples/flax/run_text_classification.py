"""Fine-tuning on classification, idiomatic JAX: the paper's objective, optax, a jitted step.

    python examples/flax/run_text_classification.py reviews.jsonl --output runs/reviews

Rows have ``text`` and ``label``. Every tenth is held out.
"""

import argparse

import grain
import numpy as np
from flax import nnx

from gpt_flax import FlaxOpenAIGPTForSequenceClassification
from gpt_flax.training import Objective, adamw
from gptcore import DEFAULT_MODEL
from gptcore.storage import read_table
from gptcore.training import FINE_TUNING, TaskExamples, add_task_tokens, label_settings, objective, once, places
from tokenization import OpenAIGPTTokenizerFast


@nnx.jit
def train_step(losses, optimizer, batch):
    """One update; returns the loss before it."""
    loss, gradients = nnx.value_and_grad(lambda losses: objective(losses(**batch), FINE_TUNING.lm_coefficient))(losses)
    optimizer.update(losses.model, nnx.State(gradients["model"]))
    return loss


@nnx.jit
def answers(losses, batch):
    """The class of each row."""
    return losses(**batch)["logits"].argmax(-1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", help="a .jsonl, .csv or .tsv file")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="default: the bundled model")
    parser.add_argument("--output", required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--learning_rate", type=float, default=FINE_TUNING.learning_rate)
    arguments = parser.parse_args()

    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(arguments.model)
    vocab_size = add_task_tokens(tokenizer, "classify")
    rows = read_table(arguments.rows, ("text", "label"))
    labels = label_settings("classify", [row["label"] for row in rows], places(rows))
    model = FlaxOpenAIGPTForSequenceClassification.from_pretrained(arguments.model, **labels)
    model.resize_token_embeddings(vocab_size)
    training, held_out = (
        TaskExamples("classify", part, tokenizer, model.config)
        for part in ([row for i, row in enumerate(rows) if i % 10], rows[::10])
    )

    recipe = FINE_TUNING.replace(learning_rate=arguments.learning_rate, epochs=arguments.epochs)
    shuffled = grain.MapDataset.source(training).seed(0).shuffle().repeat(arguments.epochs)
    batches = shuffled.batch(recipe.batch_size, batch_fn=training.collate)
    losses = Objective(model)
    optimizer = nnx.Optimizer(model, adamw(model, recipe, len(batches)), wrt=nnx.Param)

    for step, batch in enumerate(batches):
        losses.train()
        loss = train_step(losses, optimizer, batch)
        if step % 10 == 0 or step == len(batches) - 1:
            print(f"step {step}: loss {loss:.4f}")

    losses.eval()
    right = [
        np.asarray(answers(losses, batch)) == batch["targets"]
        for batch in once(held_out, recipe.batch_size, held_out.collate)
    ]
    print(f"accuracy {np.concatenate(right).mean():.4f}")
    model.save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)


if __name__ == "__main__":
    main()
