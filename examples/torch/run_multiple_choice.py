"""Fine-tuning on multiple choice, idiomatic PyTorch: a model with two heads, a DataLoader, a plain loop.

    python examples/torch/run_multiple_choice.py copa.jsonl --output runs/copa

Rows have ``context``, ``choice1``, ``choice2`` and ``label``, the index of the right one. Every tenth is held out.
"""

import argparse

import torch
from torch.utils.data import DataLoader

from gpt_torch import OpenAIGPTDoubleHeadsModel
from gpt_torch.training import adamw
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
    torch.manual_seed(0)  # dropout, and the order of the rows

    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(arguments.model)
    vocab_size = add_task_tokens(tokenizer, "choice")
    columns = (*TASKS["choice"].columns, "label")
    rows = read_table(arguments.rows, columns)
    model = OpenAIGPTDoubleHeadsModel.from_pretrained(arguments.model)
    model.resize_token_embeddings(vocab_size)
    training, held_out = (
        TaskExamples("choice", part, tokenizer, model.config)
        for part in ([row for i, row in enumerate(rows) if i % 10], rows[::10])
    )

    recipe = FINE_TUNING.replace(learning_rate=arguments.learning_rate, epochs=arguments.epochs)
    loader = DataLoader(training, recipe.batch_size, shuffle=True, collate_fn=collated_by(training))
    test_loader = DataLoader(held_out, recipe.batch_size, collate_fn=collated_by(held_out))
    optimizer, schedule = adamw(model, recipe, arguments.epochs * len(loader))

    for epoch in range(arguments.epochs):
        model.train()
        for batch in loader:
            output = model(**batch)
            loss = output.mc_loss + recipe.lm_coefficient * output.loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            right = [model(**batch).mc_logits.argmax(-1) == batch["mc_labels"] for batch in test_loader]
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, accuracy {torch.cat(right).float().mean():.4f}")

    model.save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)


def collated_by(examples):
    """A collate function: examples to the arguments of the model, sequences in (batch, choice, token)."""

    def collate(rows):
        batch = {name: torch.from_numpy(array).long() for name, array in examples.collate(rows).items()}
        return {
            "input_ids": batch["input_ids"],
            "labels": batch["labels"],
            "mc_token_ids": batch["extract_positions"],
            "mc_labels": batch["targets"],
        }

    return collate


if __name__ == "__main__":
    main()
