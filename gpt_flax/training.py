"""Training (Radford et al. 2018, sections 3.1 and 3.2): the losses, AdamW, and a training step."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.typing import NDArray

from gpt_flax.backend import MODELS
from gpt_flax.heads import LMHead, classification_loss, language_modeling_loss
from gpt_flax.modeling import take_position
from gpt_flax.pretrained import FlaxOpenAIGPTPreTrainedModel, describe
from gpt_flax.weights import dtype_name, parameters_of, paths_of, to_numpy_bits, transform_of
from gptcore.backends.training import Batch, Named
from gptcore.checkpoint.layouts.nnx import VALUE
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.inputs import problem_type
from gptcore.spec.parameters import Head, parameters
from gptcore.spec.recipe import Recipe
from gptcore.training import dropout_seed, micro_batches, objective, rows_of_process, shares
from gptcore.training.steps import check_batch, check_weights

__all__ = ["Objective", "Trainer", "adamw", "load_trainer"]

DATA, TENSOR = "data", "tensor"
SHARDED_AXES = ("vocab", "heads", "mlp")
MOMENT_OF = {"exp_avg": "mu", "exp_avg_sq": "nu"}


class Objective(nnx.Module):
    """A model with the losses that training minimises.

    Args:
        model: A model with a head.
    """

    def __init__(self, model: FlaxOpenAIGPTPreTrainedModel) -> None:
        self.model = model
        self.lm_head = LMHead()
        self.extract_dropout = nnx.Dropout(model.config.summary_first_dropout, rngs=nnx.Rngs(1))

    def __call__(
        self,
        input_ids: jax.Array,
        labels: jax.Array,
        extract_positions: jax.Array | None = None,
        targets: jax.Array | None = None,
    ) -> dict[str, jax.Array]:
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
        logits = self.model.score(self.extract_dropout(extracted))  # type: ignore[attr-defined]
        lm_logits = self.lm_head(hidden_states, self.model.transformer.tokens_embed)
        kind = problem_type(self.model.config, describe(targets))
        return {
            "lm_loss": language_modeling_loss(lm_logits, labels),
            "task_loss": classification_loss(logits, targets, kind),  # type: ignore[arg-type]
            "logits": logits,
        }


def adamw(model: FlaxOpenAIGPTPreTrainedModel, recipe: Recipe, total_steps: int) -> optax.GradientTransformation:
    """The recipe's AdamW with its learning rates, for your own loop.

    You can also pass it to ``nnx.Optimizer``. The returned optimizer clips the gradients and holds the schedule.

    Args:
        model: A model of ``gpt_flax``.
        recipe: The hyperparameters.
        total_steps: Number of updates in the whole run.

    Returns:
        An ``optax.GradientTransformation`` over ``nnx.state(model, nnx.Param)``, or over the state that another filter
        selects.

    >>> from gpt_flax import OpenAIGPTConfig, FlaxOpenAIGPTLMHeadModel
    >>> model = FlaxOpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2))
    >>> optimizer = nnx.Optimizer(model, adamw(model, Recipe(warmup_steps=0), total_steps=10), wrt=nnx.Param)
    """
    table = parameters(model.config, model.head)
    rates = recipe.learning_rates(total_steps).astype(np.float32)
    kinds = {".".join(map(str, path)): table[name].kind for name, path in paths_of(model).items()}

    def decays(values: Any) -> Any:
        """Whether each value decays: by its kind in the table; others, such as an adapter, if they are matrices."""

        def decides(path: tuple[Any, ...], value: jax.Array) -> bool:
            kind = kinds.get(jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(VALUE))
            return value.ndim > 1 if kind is None else kind.decays

        return jax.tree.map_with_path(decides, values)

    return optax.chain(
        optax.identity() if recipe.max_grad_norm is None else optax.clip_by_global_norm(recipe.max_grad_norm),
        optax.adamw(
            lambda step: jnp.asarray(rates)[jnp.minimum(step, total_steps - 1)],
            recipe.adam_beta1,
            recipe.adam_beta2,
            recipe.adam_epsilon,
            weight_decay=recipe.weight_decay,
            mask=decays,
        ),
    )


class Trainer:
    """Trains a model; implements the protocol ``gptcore.training.Trainer``.

    Args:
        model: A model with a head and float32 weights; changed in place. Each step starts from the current weights.
            The mode and the variables that are not ``nnx.Param`` stay unchanged. Set dropout rates first: later
            changes have no effect on the steps. A step donates the old weights to XLA: to keep them, copy
            them before it with ``jax.tree.map(jnp.copy, nnx.state(model))``.
        recipe: The hyperparameters.
        total_steps: Number of updates in the whole run, for the schedule.
        distribution: A ``jax.sharding.Mesh`` over the devices of all processes, with the axis ``data`` and, to shard
            the weights, ``tensor``. Default: one device.

    Raises:
        ConfigError: The model has no head, has weights that are not float32, or has parameters that a checkpoint has no
            place for.

    >>> from gpt_flax import OpenAIGPTConfig, FlaxOpenAIGPTLMHeadModel
    >>> model = FlaxOpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2))
    >>> trainer = Trainer(model, Recipe(learning_rate=0.01, warmup_steps=0), total_steps=2)
    >>> ids = np.array([[1, 2, 3, 4]])
    >>> first, second = (trainer.step(step, {"input_ids": ids, "labels": ids})["loss"] for step in range(2))
    >>> second < first
    True
    """

    def __init__(
        self,
        model: FlaxOpenAIGPTPreTrainedModel,
        recipe: Recipe,
        total_steps: int,
        *,
        distribution: Mesh | None = None,
    ) -> None:
        own = set(paths_of(model).values())
        trained = nnx.to_flat_state(nnx.state(model, nnx.Param))
        check_weights(
            model.head, dtype_name(model.dtype), [".".join(map(str, path)) for path, _ in trained if path not in own]
        )
        for parameter in parameters_of(model).values():
            check_weights(model.head, dtype_name(parameter.dtype))
        self.model, self.recipe, self.config, self.head = model, recipe, model.config, model.head
        self.rates = recipe.learning_rates(total_steps)
        # A copy of the mesh whose axes are automatic: the compiler decides how intermediate values are sharded.
        self.mesh = distribution and Mesh(distribution.devices, distribution.axis_names)
        self.is_main, self.processes = jax.process_index() == 0, jax.process_count()
        self.precision = "highest" if recipe.precision == "float32" else "default"
        modules = nnx.merge(*nnx.split(model))  # a copy, whose mode and dtype are set below
        if recipe.precision != "float32":
            modules.set_attributes(dtype=jnp.dtype(recipe.precision))
        objective_module = Objective(modules)
        objective_module.eval()
        self.eval_graph = nnx.graphdef(objective_module)
        objective_module.train()
        self.train_graph, self.counts, *others = nnx.split(objective_module, nnx.RngCount, nnx.RngKey, ...)
        self.keys, _ = others
        self.params, self.frozen, _ = nnx.state(model, nnx.Param, nnx.Not(nnx.RngState), ...)
        self.params = jax.tree.map(jnp.copy, self.params)  # a step donates its arrays
        if self.mesh is not None:
            self.params, self.frozen = (
                nnx.from_flat_state(
                    [(path, self._spread(variable, self.mesh)) for path, variable in nnx.to_flat_state(tree)]
                )
                for tree in (self.params, self.frozen)
            )
        nnx.update(model, self.params, self.frozen)
        self.optimizer = adamw(model, recipe, total_steps)
        self.optimizer_state = jax.tree.map(self._replicated, self.optimizer.init(self.params))
        # Each step returns them, so that the next one reuses their memory: XLA clears temporary memory in each step.
        self.gradients = jax.tree.map(jnp.zeros_like, self.params)
        self.update = jax.jit(self._updated, donate_argnums=(0, 1, 2), keep_unused=True)
        self.losses = jax.jit(self._outputs)

    def step(self, step: int, batch: Batch) -> dict[str, float]:
        """Update the weights by one batch; see ``gptcore.training.Trainer``."""
        batch = check_batch(self.config, self.head, batch)
        devices = self.mesh.shape[DATA] if self.mesh else 1
        rows_of_process(len(batch["input_ids"]), 0, devices)  # raises if they cannot be divided
        size = self.recipe.micro_batch_size
        parts = micro_batches(batch, size and size * devices)
        weights = [shares(part, batch) for part in parts]
        stacked: dict[str, Any] = {
            "batch": {name: np.stack([part[name] for part in parts]) for name in batch},  # (parts, B, ...)
            "shares": {name: np.array([w[name] for w in weights], np.float32) for name in weights[0]},
            "seeds": np.array(
                [dropout_seed(self.recipe.seed, step, number) for number in range(len(parts))], np.uint32
            ),
        }
        stacked["batch"] = self._placed(stacked["batch"], PartitionSpec(None, DATA))
        self._read_model()
        with jax.default_matmul_precision(self.precision):
            self.params, self.optimizer_state, self.gradients, results = self.update(
                self.params, self.optimizer_state, self.gradients, self.frozen, stacked
            )
        nnx.update(self.model, self.params)  # the step donated the old arrays
        return {**{name: float(value) for name, value in results.items()}, "learning_rate": float(self.rates[step])}

    def _read_model(self) -> None:
        """Use the weights that the caller has set since the last step; copies, since a step donates them."""
        params, self.frozen, _ = nnx.state(self.model, nnx.Param, nnx.Not(nnx.RngState), ...)
        self.params = jax.tree.map(lambda new, old: old if new is old else jnp.copy(new), params, self.params)

    def _updated(
        self,
        params: nnx.State[Any, Any],
        optimizer_state: Any,
        old_gradients: nnx.State[Any, Any],
        frozen: nnx.State[Any, Any],
        parts: dict[str, Any],
    ) -> tuple[nnx.State[Any, Any], Any, nnx.State[Any, Any], dict[str, jax.Array]]:
        """Add up the gradients of all parts and update the weights. Of the old gradients, only the memory is used."""

        def gradients(part: dict[str, Any]) -> tuple[dict[str, jax.Array], nnx.State[Any, Any]]:
            (loss, losses), gradient = jax.value_and_grad(self._loss, has_aux=True)(params, frozen, part)
            return {"loss": loss, **losses}, gradient

        def add(total: Any, part: dict[str, Any]) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, gradients(part)), None

        first = jax.tree.map(lambda x: x[0], parts)
        if len(parts["seeds"]) == 1:
            total = gradients(first)
        else:  # from zeros, so that the model is compiled once
            zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(gradients, first))
            total, _ = jax.lax.scan(add, zeros, parts)
        losses, gradient = total
        changes, optimizer_state = self.optimizer.update(gradient, optimizer_state, params)
        return (
            optax.apply_updates(params, changes),
            optimizer_state,
            gradient,
            {**losses, "grad_norm": optax.tree.norm(gradient)},
        )

    def _loss(
        self, params: nnx.State[Any, Any], frozen: nnx.State[Any, Any], part: dict[str, Any]
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss that is minimised, and the losses of one part, weighted by its share."""
        counts = jax.tree.map(lambda count: part["seeds"].astype(count.dtype), self.counts)
        outputs = self._run(self.train_graph, params, frozen, counts, part["batch"])
        losses = {name: outputs[name] * share for name, share in part["shares"].items()}
        return objective(losses, self.recipe.lm_coefficient), losses

    def _outputs(self, params: nnx.State[Any, Any], frozen: nnx.State[Any, Any], batch: Any) -> dict[str, jax.Array]:
        return self._run(self.eval_graph, params, frozen, self.counts, batch)

    def _run(
        self,
        graph: Any,
        params: nnx.State[Any, Any],
        frozen: nnx.State[Any, Any],
        counts: nnx.State[Any, Any],
        batch: Any,
    ) -> dict[str, jax.Array]:
        if self.recipe.precision != "float32":
            params, frozen = jax.tree.map(self._rounded, (params, frozen))
        weights = [nnx.State({"model": tree}) for tree in (params, frozen)]
        return nnx.merge(graph, *weights, counts, self.keys)(**batch)

    def _rounded(self, value: jax.Array) -> jax.Array:
        """A weight in the precision of the recipe; integers unchanged."""
        return value.astype(self.recipe.precision) if jnp.issubdtype(value.dtype, jnp.floating) else value

    def evaluate(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """The losses of a batch without dropout, and the logits of its task."""
        batch = check_batch(self.config, self.head, batch)
        self._read_model()
        with jax.default_matmul_precision(self.precision):
            outputs = self.losses(self.params, self.frozen, self._placed(batch, PartitionSpec()))
        return {name: gathered(value.astype(jnp.float32)) for name, value in outputs.items()}

    def weights(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Canonical name and value of every parameter."""
        yield from self._named(nnx.state(self.model))

    def moments(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Adam's two moments of every parameter; zeros for parameters that are not trained."""
        for moment, field in MOMENT_OF.items():
            for name, array in self._named(optax.tree.get(self.optimizer_state, field)):
                yield f"{moment}.{name}", array

    def _named(self, tree: nnx.State[Any, Any]) -> Iterator[tuple[str, NDArray[Any]]]:
        """Canonical name and value of every entry of a tree of parameters."""
        table, flat = parameters(self.config, self.head), dict(nnx.to_flat_state(tree))
        for name, path in paths_of(self.model).items():
            zeros = np.zeros(table[name].shape, np.float32)
            yield name, transform_of(table[name])(gathered(flat[path].get_value())) if path in flat else zeros

    def restore(self, step: int, weights: Named, moments: Named) -> None:
        """Continue as if ``step`` updates had led to these weights and moments."""
        weights, moments = dict(weights), dict(moments)
        self.params, self.frozen = (self._tree(weights, old) for old in (self.params, self.frozen))
        nnx.update(self.model, self.params, self.frozen)
        changes = {
            field: self._tree({name: moments[f"{moment}.{name}"] for name in paths_of(self.model)}, self.params)
            for moment, field in MOMENT_OF.items()
        }
        changed = optax.tree.set(self.optimizer_state, count=jnp.asarray(step, jnp.int32), **changes)
        # Each count gets memory of its own: an array may be donated only once.
        self.optimizer_state = jax.tree.map(lambda x: x if x.ndim else self._replicated(jnp.copy(x)), changed)

    def _tree(self, arrays: Mapping[str, NDArray[Any]], old: nnx.State[Any, Any]) -> nnx.State[Any, Any]:
        """A tree with arrays, by canonical name, in place of its own, on the same devices."""
        table, leaves = parameters(self.config, self.head), dict(nnx.to_flat_state(old))

        def placed(path: tuple[Any, ...], values: NDArray[Any]) -> Any:
            if self.mesh is None:
                return leaves[path].replace(jnp.array(values))
            # Devices of other processes take plain arrays only; an array that was read from a file is a subclass.
            return leaves[path].replace(jax.device_put(np.asarray(values), leaves[path].get_value().sharding))

        new: dict[Any, Any] = {
            path: placed(path, transform_of(table[name])(arrays[name]))
            for name, path in paths_of(self.model).items()
            if path in leaves
        }
        return nnx.from_flat_state({**leaves, **new})

    def _spread(self, parameter: nnx.Variable[Any], mesh: Mesh) -> nnx.Variable[Any]:
        """A parameter on the mesh: axes that its module names are sharded over ``tensor``, if the mesh has it."""
        ways = mesh.shape.get(TENSOR, 1)
        value, names = parameter.get_value(), parameter.get_metadata().get("out_sharding")
        axes = [
            TENSOR if name in SHARDED_AXES and ways > 1 and size % ways == 0 else None
            for name, size in zip(names or (None,) * value.ndim, value.shape, strict=True)
        ]
        return parameter.replace(jax.device_put(value, NamedSharding(mesh, PartitionSpec(*axes))))

    def _replicated(self, array: jax.Array) -> jax.Array:
        """An array of the optimizer on the mesh: moments like their parameters, counts on all devices."""
        if self.mesh is None or isinstance(array.sharding, NamedSharding):
            return array
        return jax.device_put(array, NamedSharding(self.mesh, PartitionSpec()))

    def _placed(self, arrays: Batch, spec: PartitionSpec) -> Mapping[str, Any]:
        """Arrays of the host, the same in all processes, on the devices."""
        if self.mesh is None:
            return arrays
        return {
            name: jax.make_array_from_callback(array.shape, NamedSharding(self.mesh, spec), array.__getitem__)
            for name, array in arrays.items()
        }


def gathered(array: jax.Array) -> NDArray[Any]:
    """An array of all processes on the host."""
    everywhere = array if array.is_fully_addressable else multihost_utils.process_allgather(array, tiled=True)
    return to_numpy_bits(everywhere)


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
    if "JAX_COORDINATOR_ADDRESS" in os.environ and not jax.distributed.is_initialized():
        count, index = (int(os.environ[name]) for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"))
        jax.distributed.initialize(os.environ["JAX_COORDINATOR_ADDRESS"], count, index)
    rngs = nnx.Rngs(0)  # the trainer sets their counts, from the seed of the recipe
    if isinstance(source, OpenAIGPTConfig):
        model = MODELS[head](source.replace(**config), seed=recipe.seed, rngs=rngs)  # type: ignore[call-arg]  # a model's own arguments
    else:
        options = {"seed": recipe.seed, "rngs": rngs, "ignore_mismatched_labels": True, **config}
        model = MODELS[head].from_pretrained(source, **options)
    if vocab_size and vocab_size != model.config.vocab_size:
        model.resize_token_embeddings(vocab_size)
    spread = jax.device_count() > 1 and jax.config.jax_default_device is None  # type: ignore[attr-defined]  # set at run time
    mesh = jax.make_mesh((jax.device_count(),), ("data",)) if spread else None
    return Trainer(model, recipe, total_steps, distribution=mesh)
