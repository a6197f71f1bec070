"""Training (Radford et al. 2018, sections 3.1 and 3.2): the losses, AdamW, and a training step."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from gpt_tf.backend import BACKEND, MODELS
from gpt_tf.heads import LMHead, classification_loss, language_modeling_loss
from gpt_tf.modeling import random_states, take_position
from gpt_tf.pretrained import TFOpenAIGPTPreTrainedModel, describe
from gpt_tf.weights import MIXED, assign, export, left_out, parameters_of, to_numpy_bits, transform_of
from gptcore.backends.training import Batch, Named
from gptcore.checkpoint.layouts import keras_model as layouts
from gptcore.errors import ConfigError
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.inputs import problem_type
from gptcore.spec.parameters import ROWS, Head, parameters
from gptcore.spec.recipe import Recipe
from gptcore.training import dropout_seed, micro_batches, objective, rows_of_process, shares
from gptcore.training.steps import MOMENTS, check_batch, check_weights

__all__ = ["AdamW", "LearningRates", "Objective", "Trainer", "adamw", "load_trainer"]

# Names of the variables that do not decay.
UNDECAYED = {layouts.ROWS[row.name][0].rpartition("/")[2] for row in ROWS if not row.kind.decays}


class Objective:
    """A model with the losses that training minimises.

    Args:
        model: A model with a head.
    """

    def __init__(self, model: TFOpenAIGPTPreTrainedModel) -> None:
        self.model = model
        self.lm_head = LMHead(dtype=model.dtype_policy)
        self.extract_dropout = keras.layers.Dropout(model.config.summary_first_dropout, dtype=model.dtype_policy)

    def __call__(
        self,
        input_ids: tf.Tensor,
        labels: tf.Tensor,
        extract_positions: tf.Tensor | None = None,
        targets: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        """The language-modelling loss and, for a task, its loss and logits.

        Args:
            input_ids: (B, T) integer token ids, or (B, N, T) for N sequences per example.
            labels: Integer token ids of the shape of ``input_ids``; -100 is ignored.
            extract_positions: (B,) or (B, N) integer positions of the extract tokens.
            targets: (B,) integers: the class, or the index of the right choice; or floats: the scores.
            training: Whether dropout is on.

        Returns:
            A dict of ``lm_loss`` () and, for a task, ``task_loss`` () and ``logits`` (B, K) of K classes or choices.
        """
        if self.model.head is Head.LM:
            inputs = {"input_ids": input_ids, "labels": labels}
            return {"lm_loss": self.model(inputs, return_dict=True, training=training).loss}
        if self.model.head is Head.DOUBLE_HEADS:
            inputs = {"input_ids": input_ids, "mc_token_ids": extract_positions, "labels": labels, "mc_labels": targets}
            output = self.model(inputs, return_dict=True, training=training)
            return {"lm_loss": output.loss, "task_loss": output.mc_loss, "logits": output.mc_logits}
        hidden_states = self.model.transformer(input_ids, return_dict=True, training=training).last_hidden_state
        extracted = take_position(hidden_states, extract_positions)  # (B, C) or (B, N, C)
        if len(extracted.shape) == 3:
            extracted = tf.reduce_sum(extracted, 1)  # both orders of a similarity are added before the linear layer
        logits = self.model.score(self.extract_dropout(extracted, training=training))
        lm_logits = self.lm_head(hidden_states, tokens_embed=self.model.transformer.tokens_embed)
        kind = problem_type(self.model.config, describe(targets))
        return {
            "lm_loss": language_modeling_loss(lm_logits, labels),
            "task_loss": classification_loss(logits, targets, kind),
            "logits": logits,
        }


@keras.saving.register_keras_serializable(package="gptcore")
class LearningRates(keras.optimizers.schedules.LearningRateSchedule):
    """The recipe's learning rate of each update, from its table."""

    def __init__(self, rates: Iterable[float]) -> None:
        self.rates = [float(rate) for rate in rates]

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        table = tf.constant(self.rates, tf.float32)
        return tf.gather(table, tf.minimum(tf.cast(step, tf.int32), len(self.rates) - 1))

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, for Keras to save."""
        return {"rates": self.rates}


@keras.saving.register_keras_serializable(package="gptcore")
class AdamW(keras.optimizers.AdamW):
    """Keras' AdamW, but epsilon is added to the bias-corrected root of the second moment, as in PyTorch and optax.

    It clips by the global norm of the gradient summed over all replicas. Biases and gains have no weight decay.
    """

    def __init__(self, *args: Any, max_grad_norm: float | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.max_grad_norm = max_grad_norm

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Create the moments; biases and gains are excluded here, because Keras saves no exclusions."""
        if not self.built:
            excluded = [v for v in variables if v.name in UNDECAYED or not self._use_weight_decay(v)]
            self.exclude_from_weight_decay(excluded)
        super().build(variables)

    def _clip_gradients(self, grads: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Keras calls this after accumulation and loss scaling, without missing gradients."""
        replica = tf.distribute.get_replica_context()
        replicas = replica.num_replicas_in_sync if replica else 1
        if replicas > 1:
            grads = replica.all_reduce(tf.distribute.ReduceOp.SUM, list(grads))
        if self.max_grad_norm is not None:
            grads = clipped(grads, self.max_grad_norm)
        if replicas > 1:
            grads = [gradient / replicas for gradient in grads]  # Keras adds them up once more
        return super()._clip_gradients(grads)

    def update_step(self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor) -> None:
        """One variable: Kingma and Ba 2015, algorithm 1."""
        step = tf.cast(self.iterations + 1, tf.float64 if variable.dtype == "float64" else tf.float32)
        betas = self.beta_1, self.beta_2
        first_correction, second_correction = (tf.cast(1 - beta**step, variable.dtype) for beta in betas)
        index = self._get_variable_index(variable)
        first, second = self._momentums[index], self._velocities[index]
        first.assign_add((gradient - first) * (1 - self.beta_1))
        second.assign_add((tf.square(gradient) - second) * (1 - self.beta_2))
        if self.amsgrad:
            largest = self._velocity_hats[index]
            largest.assign(tf.maximum(largest, second))
            second = largest
        root = tf.sqrt(second / second_correction)
        rate = tf.cast(learning_rate, variable.dtype) / first_correction
        variable.assign_sub(rate * first / (root + self.epsilon))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "max_grad_norm": self.max_grad_norm}


def clipped(gradients: Sequence[tf.Tensor], norm: float) -> list[tf.Tensor]:
    """Gradients, scaled down to a global norm."""
    scale = tf.minimum(1.0, norm / tf.linalg.global_norm(gradients))
    return [gradient * tf.cast(scale, gradient.dtype) for gradient in gradients]


def adamw(model: TFOpenAIGPTPreTrainedModel, recipe: Recipe, total_steps: int) -> AdamW:
    """The recipe's AdamW with its learning rates, for your own loop.

    You can also pass it to ``compile`` and train with ``fit``. The returned optimizer clips the gradients and holds the
    schedule.

    Args:
        model: A model of ``gpt_tf``.
        recipe: The hyperparameters.
        total_steps: Number of updates in the whole run.

    Returns:
        An ``AdamW``, a subclass of ``keras.optimizers.AdamW``.

    >>> from gpt_tf import OpenAIGPTConfig, TFOpenAIGPTLMHeadModel
    >>> model = TFOpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2))
    >>> optimizer = adamw(model, Recipe(warmup_steps=0), total_steps=10)
    >>> round(float(optimizer.learning_rate), 6)
    0.00025
    """
    optimizer = AdamW(
        LearningRates(recipe.learning_rates(total_steps)),
        weight_decay=recipe.weight_decay,
        beta_1=recipe.adam_beta1,
        beta_2=recipe.adam_beta2,
        epsilon=recipe.adam_epsilon,
        max_grad_norm=recipe.max_grad_norm,
    )
    optimizer.build(model.trainable_variables)
    return optimizer


class Trainer:
    """Trains a model; implements the protocol ``gptcore.training.Trainer``.

    Args:
        model: A model with a head and float32 weights, created in the scope of ``distribution``; changed in place. For
            ``recipe.precision="bfloat16"`` its dtype must be ``keras.DTypePolicy("mixed_bfloat16")``.
        recipe: The hyperparameters.
        total_steps: Number of updates in the whole run, for the schedule.
        distribution: A ``tf.distribute.Strategy``. Default: the current one.

    Raises:
        ConfigError: The model has no head, has weights that are not float32, has parameters that a checkpoint has no
            place for, or does not compute in the precision of the recipe.

    >>> from gpt_tf import OpenAIGPTConfig, TFOpenAIGPTLMHeadModel
    >>> model = TFOpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2))
    >>> trainer = Trainer(model, Recipe(learning_rate=0.01, warmup_steps=0), total_steps=2)
    >>> ids = np.array([[1, 2, 3, 4]])
    >>> first, second = (trainer.step(step, {"input_ids": ids, "labels": ids})["loss"] for step in range(2))
    >>> second < first
    True
    """

    def __init__(
        self,
        model: TFOpenAIGPTPreTrainedModel,
        recipe: Recipe,
        total_steps: int,
        *,
        distribution: tf.distribute.Strategy | None = None,
    ) -> None:
        check_weights(model.head, model.variable_dtype, left_out(model))
        if model.compute_dtype != recipe.precision:
            raise ConfigError(
                f"the model must compute in the precision of the recipe, {recipe.precision!r}; "
                f"got {model.compute_dtype!r}. "
                "Create it with dtype='float32' or dtype=keras.DTypePolicy('mixed_bfloat16')."
            )
        self.model, self.recipe, self.config, self.head = model, recipe, model.config, model.head
        self.rates = recipe.learning_rates(total_steps)
        self.strategy = distribution or tf.distribute.get_strategy()
        resolver = self.strategy.cluster_resolver
        self.is_main = (
            resolver is None or not resolver.task_type or (resolver.task_type, resolver.task_id) == ("worker", 0)
        )
        spread = resolver is not None and resolver.task_type
        self.processes = resolver.cluster_spec().num_tasks(resolver.task_type) if spread else 1
        with self.strategy.scope():
            self.optimizer = adamw(model, recipe, total_steps)
        self.objective = Objective(model)
        owners = (model, self.objective.extract_dropout)
        self.dropout_states = [state for owner in owners for state in random_states(owner)]
        alone = self.strategy.num_replicas_in_sync == 1
        self.update = tf.function(self._update_replica if alone else self._update_replicas, jit_compile=alone)
        self.losses = tf.function(lambda batch: self.objective(**batch), jit_compile=True)

    def step(self, step: int, batch: Batch) -> dict[str, float]:
        """Update the weights by one batch; see ``gptcore.training.Trainer``."""
        batch = check_batch(self.config, self.head, batch)
        replicas = self.strategy.num_replicas_in_sync
        parts_of_replica = []
        for replica in range(replicas):
            mine = rows_of_process(len(batch["input_ids"]), replica, replicas)
            rows = {name: array[mine] for name, array in batch.items()}
            parts = micro_batches(rows, self.recipe.micro_batch_size)
            seeds = [dropout_seed(self.recipe.seed, step, number, replica) for number in range(len(parts))]
            weights = [shares(part, batch) for part in parts]
            parts_of_replica.append(
                {
                    "batch": {name: np.stack([part[name] for part in parts]) for name in rows},  # (parts, B, ...)
                    "shares": {name: np.array([w[name] for w in weights], np.float32) for name in weights[0]},
                    "seeds": np.array(seeds, np.uint32),
                }
            )
        if replicas == 1:
            outputs = self.update(parts_of_replica[0])
        else:
            outputs = self.update(tf.nest.map_structure(self._distributed, *parts_of_replica))
        results = {name: float(value) for name, value in outputs.items()}
        return {**results, "learning_rate": float(self.rates[step])}

    def _distributed(self, *of_replicas: Any) -> Any:
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: of_replicas[context.replica_id_in_sync_group]
        )

    def _update_replicas(self, parts: dict[str, Any]) -> dict[str, tf.Tensor]:
        outputs = self.strategy.run(self._update_replica, (parts,))
        norm = self.strategy.reduce(tf.distribute.ReduceOp.MEAN, outputs.pop("grad_norm"), None)
        return {
            **{name: self.strategy.reduce(tf.distribute.ReduceOp.SUM, value, None) for name, value in outputs.items()},
            "grad_norm": norm,
        }

    def _update_replica(self, parts: dict[str, Any]) -> dict[str, tf.Tensor]:
        """Add up the gradients of all parts and update the weights."""
        variables = self.model.trainable_variables
        count = parts["seeds"].shape[0]
        if count == 1:
            losses, gradients = self._gradients(tf.nest.map_structure(lambda x: x[0], parts))
        else:  # from zeros, so that the model is traced once
            losses = dict.fromkeys(("loss", *parts["shares"]), tf.constant(0.0))
            gradients = [tf.zeros(variable.shape, variable.dtype) for variable in variables]
            for part in tf.range(count):
                more, more_gradients = self._gradients(tf.nest.map_structure(lambda x, part=part: x[part], parts))
                losses = {name: losses[name] + more[name] for name in losses}
                gradients = [a + b for a, b in zip(gradients, more_gradients, strict=True)]
        replica = tf.distribute.get_replica_context()
        everywhere = gradients
        if replica.num_replicas_in_sync > 1:
            everywhere = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        self.optimizer.apply(gradients, variables)
        return {**losses, "grad_norm": tf.linalg.global_norm(everywhere)}

    def _gradients(self, part: dict[str, Any]) -> tuple[dict[str, tf.Tensor], list[tf.Tensor]]:
        """The losses of one part, weighted by its share, and their gradients."""
        for layer, state in enumerate(self.dropout_states):
            state.assign(tf.stack([part["seeds"], tf.constant(layer, tf.uint32)]))
        with tf.GradientTape() as tape:
            outputs = self.objective(**part["batch"], training=True)
            losses = {name: outputs[name] * share for name, share in part["shares"].items()}
            loss = objective(losses, self.recipe.lm_coefficient)
        return {"loss": loss, **losses}, tape.gradient(loss, self.model.trainable_variables)

    def evaluate(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """The losses of a batch without dropout, and the logits of its task."""
        batch = check_batch(self.config, self.head, batch)
        outputs = self.losses({name: tf.convert_to_tensor(array) for name, array in batch.items()})
        return {name: np.asarray(tf.cast(value, tf.float32)) for name, value in outputs.items()}

    def weights(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Canonical name and value of every parameter."""
        yield from export(self.model)

    def moments(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Adam's two moments of every parameter; zeros for parameters that are not trained."""
        table = parameters(self.config, self.head)
        for name, variable in parameters_of(self.model).items():
            for moment, values in self._moments_of(variable).items():
                yield f"{moment}.{name}", transform_of(table[name])(to_numpy_bits(values))

    def _moments_of(self, variable: keras.Variable) -> dict[str, Any]:
        if not variable.trainable:  # the optimizer has no moments for it
            return dict.fromkeys(MOMENTS, tf.zeros_like(variable))
        index = self.optimizer._get_variable_index(variable)
        return {"exp_avg": self.optimizer._momentums[index], "exp_avg_sq": self.optimizer._velocities[index]}

    def restore(self, step: int, weights: Named, moments: Named) -> None:
        """Continue as if ``step`` updates had led to these weights and moments."""
        assign(self.model, weights)
        table, variables = parameters(self.config, self.head), parameters_of(self.model)
        for name, array in moments:
            moment, _, parameter = name.partition(".")
            if variables[parameter].trainable:
                self._moments_of(variables[parameter])[moment].assign(transform_of(table[parameter])(array))
        self.optimizer.iterations.assign(step)


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
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if "TF_CONFIG" in os.environ:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    elif BACKEND.device is None and len(tf.config.list_logical_devices("GPU")) > 1:
        strategy = tf.distribute.MirroredStrategy()
    else:
        strategy = tf.distribute.get_strategy()
    policy = keras.DTypePolicy("float32" if recipe.precision == "float32" else f"{MIXED}{recipe.precision}")
    with strategy.scope():
        if isinstance(source, OpenAIGPTConfig):
            model = MODELS[head](source.replace(**config), dtype=policy, seed=recipe.seed)
        else:
            options = {"dtype": policy, "seed": recipe.seed, "ignore_mismatched_labels": True, **config}
            model = MODELS[head].from_pretrained(source, **options)
        if vocab_size and vocab_size != model.config.vocab_size:
            model.resize_token_embeddings(vocab_size)
    return Trainer(model, recipe, total_steps, distribution=strategy)
