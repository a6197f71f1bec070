"""Training (Radford et al. 2018, sections 3.1 and 3.2): the losses, AdamW, and a training step."""

from __future__ import annotations

import atexit
import contextlib
import functools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from gpt_torch.backend import MODELS
from gpt_torch.heads import LMHead, classification_loss, language_modeling_loss
from gpt_torch.modeling import take_position
from gpt_torch.pretrained import OpenAIGPTPreTrainedModel, describe
from gpt_torch.weights import dtype_name, left_out, parameters_of, to_numpy_bits
from gptcore.backends.training import Batch, Named
from gptcore.installation import required
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.inputs import problem_type
from gptcore.spec.parameters import Head, parameters
from gptcore.spec.recipe import Recipe
from gptcore.training import dropout_seed, micro_batches, objective, rows_of_process, shares
from gptcore.training.steps import MOMENTS, check_batch, check_weights

with required("torch", "training in PyTorch needs accelerate", "accelerate"):
    from accelerate import Accelerator

__all__ = ["Objective", "Trainer", "adamw", "load_trainer"]


class Objective(nn.Module):
    """A model with the losses that training minimises.

    Args:
        model: A model with a head.
    """

    def __init__(self, model: OpenAIGPTPreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.lm_head = LMHead()
        self.extract_dropout = nn.Dropout(model.config.summary_first_dropout)

    def forward(
        self,
        input_ids: torch.Tensor,
        labels: torch.Tensor,
        extract_positions: torch.Tensor | None = None,
        targets: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """The language-modelling loss and, for a task, its loss and logits.

        Args:
            input_ids: (B, T) integer token ids, or (B, N, T) for N sequences per example.
            labels: Integer token ids of the shape of ``input_ids``; -100 is ignored.
            extract_positions: (B,) or (B, N) integer positions of the extract tokens.
            targets: (B,) integers: the class, or the index of the right choice; or floats: the scores.

        Returns:
            A dict of ``lm_loss`` () and, for a task, ``task_loss`` () and ``logits`` (B, K) of K classes or choices.
        """
        if self.model.head is Head.LM:
            return {"lm_loss": self.model(input_ids, labels=labels, return_dict=True).loss}
        if self.model.head is Head.DOUBLE_HEADS:
            output = self.model(
                input_ids, mc_token_ids=extract_positions, labels=labels, mc_labels=targets, return_dict=True
            )
            return {"lm_loss": output.loss, "task_loss": output.mc_loss, "logits": output.mc_logits}
        hidden_states = self.model.transformer(input_ids, return_dict=True).last_hidden_state
        # A classifier's batch has ``extract_positions`` and ``targets``, and its model has the layer ``score``.
        extracted = take_position(hidden_states, extract_positions)  # type: ignore[arg-type]  # (B, C) or (B, N, C)
        if extracted.ndim == 3:
            extracted = extracted.sum(1)  # both orders of a similarity are added before the linear layer
        logits = self.model.score(self.extract_dropout(extracted))  # type: ignore[operator]
        lm_logits = self.lm_head(hidden_states, self.model.transformer.tokens_embed)
        kind = problem_type(self.model.config, describe(targets))  # type: ignore[arg-type]
        return {
            "lm_loss": language_modeling_loss(lm_logits, labels),
            "task_loss": classification_loss(logits, targets, kind),  # type: ignore[arg-type]
            "logits": logits,
        }


def adamw(
    model: OpenAIGPTPreTrainedModel, recipe: Recipe, total_steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """The recipe's AdamW with its learning rates, for your own loop.

    Clip the gradients to ``recipe.max_grad_norm`` yourself. In Keras and optax the optimizer clips and holds the
    schedule; loops in PyTorch, such as those of ``accelerate``, Lightning and transformers, do both themselves.

    Args:
        model: A model of ``gpt_torch``.
        recipe: The hyperparameters.
        total_steps: Number of updates in the whole run.

    Returns:
        A ``torch.optim.AdamW`` and a ``LambdaLR``; step the schedule after the optimizer.

    >>> from gpt_torch import OpenAIGPTConfig, OpenAIGPTLMHeadModel
    >>> model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2))
    >>> optimizer, schedule = adamw(model, Recipe(warmup_steps=0), total_steps=10)
    >>> schedule.get_last_lr()
    [0.00025, 0.00025]
    """
    table = parameters(model.config, model.head)
    groups = [
        {
            "params": [p for name, p in parameters_of(model).items() if table[name].kind.decays is decays],
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for decays in (True, False)
    ]
    betas = (recipe.adam_beta1, recipe.adam_beta2)
    optimizer = torch.optim.AdamW(groups, recipe.learning_rate, betas, recipe.adam_epsilon, fused=True)
    rates = (recipe.learning_rates(total_steps) / recipe.learning_rate).tolist()
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, functools.partial(_factor, rates))
    return optimizer, schedule


def _factor(rates: Sequence[float], step: int) -> float:
    """The factor of the learning rate in a step; constant after the last step."""
    return rates[min(step, len(rates) - 1)]


class Trainer:
    """Trains a model; implements the protocol ``gptcore.training.Trainer``.

    Args:
        model: A model with a head and float32 weights; changed in place.
        recipe: The hyperparameters.
        total_steps: Number of updates in the whole run, for the schedule.
        distribution: An ``accelerate.Accelerator`` for devices, DDP or FSDP. Default: one that follows the settings
            with which ``accelerate launch`` or ``torchrun`` started this process.

    Raises:
        ConfigError: The model has no head, has weights that are not float32, or has parameters that a checkpoint has no
            place for.

    >>> from gpt_torch import OpenAIGPTConfig, OpenAIGPTLMHeadModel
    >>> model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2))
    >>> trainer = Trainer(model, Recipe(learning_rate=0.01, warmup_steps=0), total_steps=2)
    >>> ids = np.array([[1, 2, 3, 4]])
    >>> first, second = (trainer.step(step, {"input_ids": ids, "labels": ids})["loss"] for step in range(2))
    >>> second < first
    True
    """

    def __init__(
        self,
        model: OpenAIGPTPreTrainedModel,
        recipe: Recipe,
        total_steps: int,
        *,
        distribution: Accelerator | None = None,
    ) -> None:
        check_weights(model.head, dtype_name(model.dtype), left_out(model))
        for parameter in model.parameters():
            check_weights(model.head, dtype_name(parameter.dtype))
        self.model, self.recipe, self.config, self.head = model, recipe, model.config, model.head
        self.rates = recipe.learning_rates(total_steps)
        # Without cpu=True, accelerate ignores torchrun's other processes where there is no GPU.
        self.accelerator = distribution or Accelerator(cpu=not torch.accelerator.is_available())
        self.is_main, self.processes = self.accelerator.is_main_process, self.accelerator.num_processes
        optimizer, _ = adamw(model, recipe, total_steps)
        self.objective, self.optimizer = self.accelerator.prepare(Objective(model), optimizer)

    def step(self, step: int, batch: Batch) -> dict[str, float]:
        """Update the weights by one batch; see ``gptcore.training.Trainer``."""
        batch = check_batch(self.config, self.head, batch)
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        mine = rows_of_process(len(batch["input_ids"]), process, processes)
        parts = micro_batches({name: array[mine] for name, array in batch.items()}, self.recipe.micro_batch_size)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rates[step]
        self.objective.train()
        total = 0
        for number, part in enumerate(parts):
            torch.manual_seed(dropout_seed(self.recipe.seed, step, number, process))
            more = self.accelerator.no_sync(self.objective) if part is not parts[-1] else contextlib.nullcontext()
            with more, self._autocast():
                outputs = self.objective(**self._to_tensors(part))
                losses = {name: outputs[name] * share for name, share in shares(part, batch).items()}
                loss = objective(losses, self.recipe.lm_coefficient)
                self.accelerator.backward(loss * processes)  # gradients of processes are averaged
            total = total + torch.stack([loss, *losses.values()]).detach()
        norm = self.accelerator.clip_grad_norm_(self.objective.parameters(), self.recipe.max_grad_norm or math.inf)
        self.optimizer.step()
        self.optimizer.zero_grad()
        results = dict(zip(("loss", *losses), self.accelerator.reduce(total, "sum").tolist(), strict=True))
        return {**results, "grad_norm": float(whole(norm)), "learning_rate": float(self.rates[step])}

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """The losses of a batch without dropout, and the logits of its task."""
        batch = check_batch(self.config, self.head, batch)
        self.objective.eval()
        with self._autocast():
            outputs = self.objective(**self._to_tensors(batch))
        return {name: to_numpy_bits(value.float()) for name, value in outputs.items()}

    def weights(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Canonical name and value of every parameter."""
        for name, parameter in parameters_of(self.model).items():
            yield name, to_numpy_bits(whole(parameter))

    def moments(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Adam's two moments of every parameter; zeros for parameters that are not trained."""
        for name, parameter in parameters_of(self.model).items():
            state = self.optimizer.state.get(parameter, {})
            for moment in MOMENTS:
                yield f"{moment}.{name}", to_numpy_bits(whole(state.get(moment, torch.zeros_like(parameter))))

    @torch.no_grad()
    def restore(self, step: int, weights: Named, moments: Named) -> None:
        """Continue as if ``step`` updates had led to these weights and moments."""
        targets = parameters_of(self.model)
        for name, array in weights:
            targets[name].copy_(like(targets[name], array))
        for name, array in moments:
            moment, _, parameter = name.partition(".")
            state = self.optimizer.state[targets[parameter]]
            state[moment] = like(targets[parameter], array)
            state["step"] = torch.tensor(float(step))

    def _autocast(self) -> torch.autocast:
        narrow = self.recipe.precision == "bfloat16"
        return torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=narrow)

    def _to_tensors(self, batch: Batch) -> dict[str, torch.Tensor]:
        return {
            name: torch.from_numpy(np.asarray(array, np.int64 if array.dtype.kind == "i" else np.float32)).to(
                self.accelerator.device
            )
            for name, array in batch.items()
        }


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The whole tensor, of which this process may hold a shard."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(parameter: torch.Tensor, array: NDArray[Any]) -> torch.Tensor:
    """The values of an array, on the device of a parameter and sharded like the parameter."""
    values = torch.from_numpy(np.array(array)).to(parameter.device)
    return (
        distribute_tensor(values, parameter.device_mesh, parameter.placements)
        if isinstance(parameter, DTensor)
        else values
    )


def load_trainer(
    source: str | Path | OpenAIGPTConfig,
    head: Head,
    recipe: Recipe,
    total_steps: int,
    *,
    vocab_size: int | None = None,
    **config: Any,
) -> Trainer:
    """Load a model and return its trainer; see ``gptcore.backends.training.LoadTrainer``."""
    torch.set_float32_matmul_precision("highest")
    if isinstance(source, OpenAIGPTConfig):
        model = MODELS[head](source.replace(**config), seed=recipe.seed)  # type: ignore[call-arg]  # a model's own arguments
    else:
        model = MODELS[head].from_pretrained(source, seed=recipe.seed, ignore_mismatched_labels=True, **config)
    if vocab_size and vocab_size != model.config.vocab_size:
        model.resize_token_embeddings(vocab_size)
    trainer = Trainer(model, recipe, total_steps)
    atexit.register(trainer.accelerator.state.destroy_process_group)  # otherwise gloo may abort the process as it exits
    return trainer
