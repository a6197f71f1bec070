"""Continue a text by sampling, in any of the three frameworks.

    python examples/run_generation.py --prompt "one day, the"

It has options of transformers' script ``run_generation.py``, under the same names. The same seed gives the same text in
every framework.
"""

import argparse

import numpy as np

from gptcore import DEFAULT_MODEL
from gptcore.backends import available, load_backend
from gptcore.spec import Head
from tokenization import OpenAIGPTTokenizerFast


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_name_or_path", default=DEFAULT_MODEL, help="a folder, or owner/name on the hub")
    parser.add_argument("--backend", default="torch", choices=sorted(available()))
    parser.add_argument("--prompt", default="", help="the text to continue; default: ask for it")
    parser.add_argument("--length", type=int, default=20, help="number of new tokens")
    parser.add_argument("--stop_token", help="cut the continuation before this string")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--repetition_penalty", type=float, default=1.0)
    parser.add_argument("--k", type=int, default=0, help="sample from the k likeliest tokens; 0 keeps all")
    parser.add_argument(
        "--p", type=float, default=0.9, help="sample from the smallest set of tokens whose probabilities add up to this"
    )
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--num_return_sequences", type=int, default=1)
    arguments = parser.parse_args()

    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(arguments.model_name_or_path)
    model = load_backend(arguments.backend).load(arguments.model_name_or_path, Head.LM)
    prompt = arguments.prompt or input("Model prompt >>> ")
    input_ids = np.array([tokenizer(prompt, add_special_tokens=False).input_ids])
    sequences = model.generate(
        input_ids,
        max_new_tokens=arguments.length,
        do_sample=True,
        temperature=arguments.temperature,
        repetition_penalty=arguments.repetition_penalty,
        top_k=arguments.k,
        top_p=arguments.p,
        seed=arguments.seed,
        num_return_sequences=arguments.num_return_sequences,
    )
    for number, sequence in enumerate(sequences, 1):
        continuation = tokenizer.decode(sequence[input_ids.shape[1] :])
        if arguments.stop_token:
            continuation = continuation.partition(arguments.stop_token)[0]
        print(f"=== {number} ===\n{prompt} {continuation}")


if __name__ == "__main__":
    main()
