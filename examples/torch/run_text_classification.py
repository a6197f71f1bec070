"""Fine-tuning on classification, idiomatic PyTorch: the paper's objective, a DataLoader, accelerate, a loop.

    python examples/torch/run_text_classification.py reviews.jsonl --output runs/reviews

Rows have ``text`` and ``label``. Every tenth is held out.
"""

import argparse

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.utils.data import DataLoader

from gpt_torch import OpenAIGPTForSequenceClassification
from gpt_torch.training import Objective, adamw
from gptcore import DEFAULT_MODEL
from gptcore.storage import read_table
from gptcore.training import FINE_TUNING, TaskExamples, add_task_tokens, label_settings, objective, places
from tokenization import OpenAIGPTTokenizerFast


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", help="a .jsonl, .csv or .tsv file")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="default: the bundled model")
    parser.add_argument("--output", required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--learning_rate", type=float, default=FINE_TUNING.learning_rate)
    arguments = parser.parse_args()

    accelerator = Accelerator()
    set_seed(0, device_specific=True)  # dropout, and the order of the rows
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(arguments.model)
    vocab_size = add_task_tokens(tokenizer, "classify")
    rows = read_table(arguments.rows, ("text", "label"))
    labels = label_settings("classify", [row["label"] for row in rows], places(rows))
    model = OpenAIGPTForSequenceClassification.from_pretrained(arguments.model, **labels)
    model.resize_token_embeddings(vocab_size)
    training, held_out = (
        TaskExamples("classify", part, tokenizer, model.config)
        for part in ([row for i, row in enumerate(rows) if i % 10], rows[::10])
    )

    recipe = FINE_TUNING.replace(learning_rate=arguments.learning_rate, epochs=arguments.epochs)
    total = recipe.total_steps(len(training))
    loader = DataLoader(training, recipe.batch_size, shuffle=True, collate_fn=tensors(training.collate))
    test_loader = DataLoader(held_out, recipe.batch_size, collate_fn=tensors(held_out.collate))
    losses = Objective(model)
    optimizer, schedule = adamw(model, recipe, total)
    losses, optimizer, loader, test_loader = accelerator.prepare(losses, optimizer, loader, test_loader)

    for epoch in range(arguments.epochs):
        losses.train()
        for batch in loader:
            loss = objective(losses(**batch), recipe.lm_coefficient)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(losses.parameters(), recipe.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        losses.eval()
        with torch.no_grad():
            right = [losses(**batch)["logits"].argmax(-1) == batch["targets"] for batch in test_loader]
        accuracy = accelerator.gather_for_metrics(torch.cat(right)).float().mean()
        accelerator.print(f"epoch {epoch + 1}: loss {loss.item():.4f}, accuracy {accuracy:.4f}")

    if accelerator.is_main_process:
        model.save_pretrained(arguments.output)
        tokenizer.save_pretrained(arguments.output)
    accelerator.end_training()


def tensors(collate):
    """A collate function that gives tensors."""
    return lambda examples: {name: torch.from_numpy(array).long() for name, array in collate(examples).items()}


if __name__ == "__main__":
    main()
