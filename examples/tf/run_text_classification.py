"""Fine-tuning on classification, idiomatic Keras: tf.data, a Keras loss and metric, fit, callbacks.

    python examples/tf/run_text_classification.py reviews.jsonl --output runs/reviews

Rows have ``text`` and ``label``. Every tenth is held out.
"""

import argparse

import keras
import numpy as np
import tensorflow as tf

from gpt_tf import TFOpenAIGPTForSequenceClassification
from gpt_tf.training import adamw
from gptcore import DEFAULT_MODEL
from gptcore.storage import read_table
from gptcore.training import FINE_TUNING, TaskExamples, add_task_tokens, label_settings, places
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
    vocab_size = add_task_tokens(tokenizer, "classify")
    rows = read_table(arguments.rows, ("text", "label"))
    labels = label_settings("classify", [row["label"] for row in rows], places(rows))
    model = TFOpenAIGPTForSequenceClassification.from_pretrained(arguments.model, **labels)
    model.resize_token_embeddings(vocab_size)
    training, held_out = (
        TaskExamples("classify", part, tokenizer, model.config)
        for part in ([row for i, row in enumerate(rows) if i % 10], rows[::10])
    )

    recipe = FINE_TUNING.replace(learning_rate=arguments.learning_rate, epochs=arguments.epochs)
    dataset = dataset_of(training).shuffle(len(training), seed=0).batch(recipe.batch_size).prefetch(tf.data.AUTOTUNE)
    model.compile(
        adamw(model, recipe, arguments.epochs * dataset.cardinality().numpy()),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(
        dataset,
        validation_data=dataset_of(held_out).batch(recipe.batch_size),
        epochs=arguments.epochs,
        verbose=2,
        callbacks=[keras.callbacks.EarlyStopping("val_accuracy", patience=2, restore_best_weights=True)],
    )

    model.save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)


def dataset_of(examples):
    """Inputs and classes; the model classifies at the last token that is attended to, the extract token."""
    whole = examples.collate(list(examples))
    columns = np.arange(whole["input_ids"].shape[1])
    mask = (columns <= whole["extract_positions"][:, None]).astype(np.int32)
    inputs = {"input_ids": whole["input_ids"], "attention_mask": mask}
    return tf.data.Dataset.from_tensor_slices((inputs, whole["targets"]))


if __name__ == "__main__":
    main()
