"""Fine-tuning on multiple choice, idiomatic Keras: a model with two heads and its own losses, tf.data, fit.

    python examples/tf/run_multiple_choice.py copa.jsonl --output runs/copa

Rows have ``context``, ``choice1``, ``choice2`` and ``label``, the index of the right one. Every tenth is held out.
"""

import argparse

import keras
import numpy as np
import tensorflow as tf

from gpt_tf import TFOpenAIGPTDoubleHeadsModel
from gpt_tf.training import adamw
from gptcore import DEFAULT_MODEL
from gptcore.storage import read_table
from gptcore.training import FINE_TUNING, TASKS, TaskExamples, add_task_tokens
from tokenization import OpenAIGPTTokenizerFast


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", help="a .jsonl, .csv or .tsv file")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="default: the bundled model")
    parser.add_argument("--output", required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--learning_rate", type=float, default=FINE_TUNING.learning_rate)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(0)  # dropout: its layers draw their seeds when they are made

    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(arguments.model)
    vocab_size = add_task_tokens(tokenizer, "choice")
    columns = (*TASKS["choice"].columns, "label")
    rows = read_table(arguments.rows, columns)
    model = TFOpenAIGPTDoubleHeadsModel.from_pretrained(arguments.model)
    model.resize_token_embeddings(vocab_size)
    training, held_out = (
        TaskExamples("choice", part, tokenizer, model.config)
        for part in ([row for i, row in enumerate(rows) if i % 10], rows[::10])
    )

    recipe = FINE_TUNING.replace(learning_rate=arguments.learning_rate, epochs=arguments.epochs)
    dataset = dataset_of(training).shuffle(len(training), seed=0).batch(recipe.batch_size).prefetch(tf.data.AUTOTUNE)
    model.compile(adamw(model, recipe, arguments.epochs * dataset.cardinality().numpy()))  # no loss: the model's own
    model.fit(dataset, epochs=arguments.epochs, verbose=2)

    answers = model.predict(dataset_of(held_out).batch(recipe.batch_size), verbose=0)["mc_logits"].argmax(-1)
    print(f"accuracy {np.mean(answers == [example['target'] for example in held_out]):.4f}")
    model.save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)


def dataset_of(examples):
    """The inputs of both heads, sequences in (batch, choice, token)."""
    whole = examples.collate(list(examples))
    return tf.data.Dataset.from_tensor_slices(
        {
            "input_ids": whole["input_ids"],
            "labels": whole["labels"],
            "mc_token_ids": whole["extract_positions"],
            "mc_labels": whole["targets"],
        }
    )


if __name__ == "__main__":
    main()
