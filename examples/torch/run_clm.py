"""Language modelling, idiomatic PyTorch: a DataLoader, accelerate, a custom training loop.

    gptcore tokenizer train book.txt --output words --vocab-size 1000
    python examples/torch/run_clm.py book.txt --tokenizer words --output runs/clm

On several processes: ``accelerate launch --num_processes 2 --cpu examples/torch/run_clm.py ...``.
"""

import argparse
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.utils.data import DataLoader

from gpt_torch import OpenAIGPTConfig, OpenAIGPTLMHeadModel
from gpt_torch.training import adamw
from gptcore.training import Blocks, Recipe, tokenize_corpus
from tokenization import OpenAIGPTTokenizerFast


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", help="text files")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--length", type=int, default=128, help="tokens per block")
    arguments = parser.parse_args()

    accelerator = Accelerator()
    set_seed(0, device_specific=True)  # dropout, and the order of the rows
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(arguments.tokenizer)
    with accelerator.main_process_first():  # the others find what the first has written
        corpus = tokenize_corpus(arguments.files, tokenizer, arguments.output / "corpus")
    config = OpenAIGPTConfig(vocab_size=len(tokenizer), n_positions=arguments.length, n_embd=128, n_layer=2, n_head=4)
    recipe = Recipe(learning_rate=1e-3, warmup_steps=10, batch_size=8, max_steps=arguments.steps)

    model = OpenAIGPTLMHeadModel(config, seed=0)
    optimizer, schedule = adamw(model, recipe, recipe.max_steps)
    loader = DataLoader(Blocks(corpus.ids, arguments.length), recipe.batch_size, shuffle=True)
    model, optimizer, loader, schedule = accelerator.prepare(model, optimizer, loader, schedule)

    model.train()
    step = 0
    while step < recipe.max_steps:
        for batch in loader:
            loss = model(**{name: ids.long() for name, ids in batch.items()}).loss
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            if step % 10 == 0 or step == recipe.max_steps - 1:
                accelerator.print(f"step {step}: loss {loss.item():.4f}")
            step += 1
            if step == recipe.max_steps:
                break

    model = accelerator.unwrap_model(model).eval()
    if accelerator.is_main_process:
        model.save_pretrained(arguments.output)
        tokenizer.save_pretrained(arguments.output)
        start = torch.tensor([[int(corpus.ids[0])]])
        print(tokenizer.decode(model.generate(start, max_new_tokens=20, do_sample=True, seed=0)[0]))
    accelerator.end_training()


if __name__ == "__main__":
    main()
