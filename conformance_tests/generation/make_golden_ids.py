"""Write ``golden.json``: the ids that transformers 4.57.6 generates, for CI, which does not have it.

Run by ``nox -s transformers -- golden``, or by hand in an environment with transformers 4.57.6.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
import transformers

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from generation_data import BEAMS, COMMON, CONFIG, GREEDY, IDS, MASKS, NEW, SEEDS, weights

from gptcore.checkpoint import save_pretrained
from gptcore.spec.parameters import Head

GOLDEN = Path(__file__).with_name("golden.json")


def load(seed):
    """The model of transformers with the weights of a seed."""
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(folder, CONFIG, Head.LM, "float32", weights(seed))
        return transformers.OpenAIGPTLMHeadModel.from_pretrained(folder).eval()


def generated(model, settings):
    """What its own ``generate`` gives."""
    ids = torch.from_numpy(IDS)
    return model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, **COMMON, **settings).tolist()


@torch.no_grad()
def padded(model, mask):
    """Greedy search by hand with a mask and explicit positions: its ``generate`` would count padding as tokens."""
    ids, mask = torch.from_numpy(IDS), torch.from_numpy(mask).long()
    rows = torch.arange(len(ids))
    last = ids.shape[1] - 1 - mask.flip(-1).argmax(-1)
    for _ in range(NEW):
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        logits = model(ids, attention_mask=mask, position_ids=positions).logits[rows, last]
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], dim=-1)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=-1)
        last = torch.full_like(last, ids.shape[1] - 1)
    return ids.tolist()


def golden():
    """One item for each model and way to generate."""
    for seed in SEEDS:
        model = load(seed)
        for side, mask in MASKS.items():
            yield {"seed": seed, "side": side, "settings": {}, "ids": padded(model, mask)}
        for settings in (*GREEDY, *BEAMS):
            yield {"seed": seed, "side": None, "settings": settings, "ids": generated(model, settings)}


if __name__ == "__main__":
    items = ",\n".join(json.dumps(item, separators=(",", ":")) for item in golden())
    GOLDEN.write_text(f"[\n{items}\n]\n")
