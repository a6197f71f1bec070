"""Fifty steps of AdamW: our trainer, and the loop that users of transformers write around its class."""

import numpy as np
import pytest
import torch
import transformers
from trained_scale import trained_scale
from training_data import RECIPE, config, lm_batches

from gpt_torch import OpenAIGPTLMHeadModel
from gpt_torch.training import Trainer
from gptcore.checkpoint import save_pretrained
from gptcore.spec.parameters import Head

STEPS = 50
SCHEDULES = {
    "cosine": transformers.get_cosine_schedule_with_warmup,
    "linear": transformers.get_linear_schedule_with_warmup,
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_fifty_steps(schedule, tmp_path):
    settings, recipe = config(n_layer=2), RECIPE.replace(schedule=schedule)
    save_pretrained(tmp_path, settings, Head.LM, "float32", trained_scale(settings, Head.LM))
    theirs = transformers.OpenAIGPTLMHeadModel.from_pretrained(tmp_path)
    trainer = Trainer(OpenAIGPTLMHeadModel.from_pretrained(tmp_path), recipe, STEPS)
    decayed = [p for p in theirs.parameters() if p.ndim > 1]
    others = [p for p in theirs.parameters() if p.ndim == 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate)
    rates = SCHEDULES[schedule](optimizer, recipe.warmup_steps, STEPS)
    batches = lm_batches(recipe)
    for step in range(STEPS):
        batch = {name: torch.from_numpy(array).long() for name, array in batches[step].items()}
        loss = theirs(**batch).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), recipe.max_grad_norm)
        rate = rates.get_last_lr()[0]
        optimizer.step()
        rates.step()
        optimizer.zero_grad()
        ours = trainer.step(step, batches[step])
        assert ours["loss"] == pytest.approx(loss.item(), rel=1e-4), step
        assert ours["grad_norm"] == pytest.approx(norm.item(), rel=1e-3), step
        assert ours["learning_rate"] == pytest.approx(rate, rel=1e-9, abs=1e-15), step
    found = {name.removeprefix("transformer."): p.detach().numpy() for name, p in theirs.named_parameters()}
    width = settings.n_embd
    for name, array in trainer.weights():
        expected, actual = (
            # The gradient of a key bias is rounding noise, which Adam scales up to full steps.
            np.delete(x, slice(width, 2 * width)) if name.endswith("c_attn.bias") else x
            for x in (found[name], array)
        )
        assert np.linalg.norm(actual - expected) < 1e-3 * np.linalg.norm(expected), name
