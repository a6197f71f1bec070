"""1,000 sampled sequences of 64 tokens at the released model's size are the same in the three frameworks.

    python conformance_tests/full_size_sampling.py FOLDER

Each backend runs in a process of its own and writes its ids into FOLDER; what is there already is not made again. Takes
about an hour, and exits with status 1 when more than one sequence differs between any two.
"""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from generation_data import weights

from gptcore.checkpoint import save_pretrained
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head

BACKENDS = ("torch", "tf", "flax")
PROMPTS, RETURNED, NEW = 20, 50, 64
WAYS = {
    "filtered": {"temperature": 0.8, "top_k": 50, "top_p": 0.95},
    "plain": {"top_k": 0},
}
ALLOWED = 1  # sequences that may differ: a near tie among some 10**5 draws

SAMPLE = """
import json, sys
import numpy as np
from gptcore.backends import load_backend
from gptcore.spec.parameters import Head
name, checkpoint, target, settings = sys.argv[1:]
settings = json.loads(settings)
model = load_backend(name).load(checkpoint, Head.LM)
prompts = np.random.default_rng(0).integers(1, 40_478, (settings.pop("prompts"), 1, 8))
ids = [model.generate(prompt, do_sample=True, seed=seed, **settings)[:, 8:] for seed, prompt in enumerate(prompts)]
np.save(target, np.concatenate(ids))
"""


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint"
    if not (checkpoint / "config.json").exists():
        config = OpenAIGPTConfig()
        save_pretrained(checkpoint, config, Head.LM, "float32", weights(config=config))
    worst = 0
    for way, settings in WAYS.items():
        for backend in BACKENDS:
            target = folder / f"{way}-{backend}.npy"
            if not target.exists():
                settings = {**settings, "prompts": PROMPTS, "num_return_sequences": RETURNED, "max_new_tokens": NEW}
                command = [sys.executable, "-W", "ignore", "-c", SAMPLE, backend, str(checkpoint), str(target)]
                subprocess.run([*command, json.dumps(settings)], check=True)
        ids = {backend: np.load(folder / f"{way}-{backend}.npy") for backend in BACKENDS}
        for a, b in itertools.combinations(BACKENDS, 2):
            differing = int((ids[a] != ids[b]).any(-1).sum())
            worst = max(worst, differing)
            print(f"{way}: {differing} of {len(ids[a])} sequences differ between {a} and {b}", flush=True)
        print(f"{way}: {len(np.unique(ids['torch']))} different tokens in {ids['torch'].size}", flush=True)
    return worst > ALLOWED


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
