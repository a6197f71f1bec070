"""What all four models share: initial weights, ``from_pretrained`` and ``save_pretrained``, resizing, input checks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, Unpack, overload

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from numpy.typing import NDArray

from gpt_flax.cache import KVCache, known
from gpt_flax.weights import (
    assign,
    dtype_name,
    export,
    framework_dtype,
    from_numpy,
    left_out,
    to_numpy_bits,
    weights_of,
)
from gptcore.checkpoint import LoadingOptions, check_modules, fresh_values, open_pretrained, save_pretrained
from gptcore.convert.push import Pushable
from gptcore.errors import InputError
from gptcore.generation import Generates
from gptcore.idioms import padded_vocabulary, saves
from gptcore.settings import passes_on
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.configured import Configured
from gptcore.spec.inputs import (
    NARROW_INTEGERS,
    ArrayInfo,
    as_array,
    cache_info,
    check_attn_implementation,
    check_inputs,
    check_quantization,
)
from gptcore.spec.parameters import Head, Parameter, check_seed, initial_value, parameters, resized_embedding
from gptcore.storage import hub

if TYPE_CHECKING:
    from gpt_flax.modeling import FlaxOpenAIGPTModel


class UnsetSeed(int):
    """The default seed: 0, unless ``rngs`` seeds the weights."""


UNSET_SEED = UnsetSeed()


class _LoadingKeywords(LoadingOptions, total=False):
    """All keywords of ``from_pretrained`` except ``output_loading_info``, which selects the type of the result."""

    dtype: DTypeLike | None
    attn_implementation: str
    quantization: str | None
    seed: int
    rngs: nnx.Rngs | None


class FlaxOpenAIGPTPreTrainedModel(Configured, Pushable, nnx.Module):
    """Base of the four models; ``config`` and ``head`` determine its parameters."""

    head: ClassVar[Head]
    if TYPE_CHECKING:
        transformer: FlaxOpenAIGPTModel  # in models with a head
        _attn_implementation: str  # in the trunk

    def __init__(self, config: OpenAIGPTConfig, dtype: DTypeLike | None) -> None:
        self.config = config
        self.dtype = framework_dtype(dtype)
        self.gradient_checkpointing = False

    def materialize(self, seed: int | jax.Array | None) -> None:
        """With a seed, give the parameters their initial values."""
        if seed is None:
            return
        if any(isinstance(x, jax.core.Tracer) for x in (seed, jnp.zeros(()))):
            assign(self, traced_fresh_values(self, seed))
        else:
            assign(self, fresh_values(self.config, self.head, dtype_name(self.dtype), int(seed)))

    @overload
    @classmethod
    def from_pretrained(
        cls,
        path_or_repo_id: str | Path,
        *,
        output_loading_info: Literal[False] = False,
        **options: Unpack[_LoadingKeywords],
    ) -> Self: ...

    @overload
    @classmethod
    def from_pretrained(
        cls, path_or_repo_id: str | Path, *, output_loading_info: Literal[True], **options: Unpack[_LoadingKeywords]
    ) -> tuple[Self, dict[str, list[str]]]: ...

    @classmethod
    @passes_on(hub.resolve, open_pretrained, stored=OpenAIGPTConfig)
    def from_pretrained(
        cls,
        path_or_repo_id: str | Path,
        *,
        dtype: DTypeLike | None = None,
        attn_implementation: str = "sdpa",
        quantization: str | None = None,
        output_loading_info: bool = False,
        seed: int = 0,
        rngs: nnx.Rngs | None = None,
        **options: Unpack[LoadingOptions],
    ) -> Self | tuple[Self, dict[str, list[str]]]:
        """Load a checkpoint from a folder, a weights file or the hub.

        The loaded model is in evaluation mode.

        Args:
            path_or_repo_id: A folder, a weights file, or ``owner/name`` on the hub.
            dtype: Dtype of the weights in memory: ``float32`` if ``None``, ``auto`` for the stored dtype.
            attn_implementation: ``"sdpa"`` (the default) or ``"eager"``, as in ``FlaxOpenAIGPTModel``.
            quantization: Must be ``None``; only PyTorch supports ``"int8"``.
            output_loading_info: Whether to also return a dict of ``missing_keys``, which got initial values, and
                ``unexpected_keys``, which are ignored.
            seed: Random seed of the weights that the checkpoint lacks; default 0.
            rngs: Random streams of the dropout; made from ``seed`` if ``None``.
            options: ``revision``, ``cache_dir``, ``local_files_only``, ``token``; ``allow_pickle=True`` to read
                files of ``torch.save``; ``ignore_mismatched_sizes=True`` for a new head if the stored one has
                another shape, for example another ``num_labels``; ``ignore_mismatched_labels=True`` for a new head if
                its labels have other names or another order. Other arguments of transformers have no effect, or raise
                an error that says what to do. All other keywords override settings of the config.

        Raises:
            CheckpointError, ConfigError: The checkpoint or a setting is invalid. The error lists every problem, and is
                raised before memory for the model is allocated.
            StorageError: There is no such folder or repository, or it cannot be downloaded.
        """
        named = dtype if isinstance(dtype, str) or dtype is None else dtype_name(dtype)
        check_quantization(quantization)
        _, rngs = seeded(seed, rngs)
        source = open_pretrained(path_or_repo_id, cls.head, named, **options)
        model = cls(source.config, dtype=source.dtype, attn_implementation=attn_implementation, seed=None, rngs=rngs)  # type: ignore[call-arg]  # a model's own arguments
        assign(model, source.values(seed))
        if isinstance(model, Generates):
            model._load_generation_config(source.folder)
        model.eval()
        return (model, source.report()) if output_loading_info else model

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        max_shard_size: int | str | None = None,
        is_main_process: bool = True,
        **options: Any,
    ) -> None:
        """Write ``config.json`` and safetensors that the other two backends and transformers read.

        Args:
            folder: The folder to write; created if missing.
            max_shard_size: Maximum size of a file in bytes, or a string such as ``"2GB"``; a larger tensor gets a file
                of its own. Default: one file.
            is_main_process: Whether to write; pass ``False`` in the other processes of a run. Default: ``True``.
            options: Other arguments of transformers have no effect, or raise an error that says what to do.
        """
        if saves(is_main_process, options):
            check_modules(self.head, (), left_out(self))
            save_pretrained(folder, self.config, self.head, dtype_name(self.dtype), export(self), max_shard_size)
            if isinstance(self, Generates):
                self._save_generation_config(folder)

    @property
    def trunk(self) -> FlaxOpenAIGPTModel:
        """The ``FlaxOpenAIGPTModel``: this model itself, or the model under its head."""
        return self if self.head is Head.NONE else self.transformer  # type: ignore[return-value]  # without a head, the trunk

    @property
    def attn_implementation(self) -> str:
        """``"sdpa"`` or ``"eager"``; may be changed at any time."""
        return self.trunk._attn_implementation

    @attn_implementation.setter
    def attn_implementation(self, value: str) -> None:
        self.trunk._attn_implementation = check_attn_implementation(value)

    def get_input_embeddings(self) -> nnx.Embed:
        """The token embedding layer, callable on ids; its weight is also that of the language-modelling head."""
        return self.trunk.tokens_embed

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Number of weights, including those of adapters; a tied weight counts once.

        The weights that are trained are those of type ``nnx.Param``.

        Args:
            only_trainable: Whether to count only weights that are trained. Default: ``False``.
            exclude_embeddings: Whether to leave out the token and position embeddings. Default: ``False``.
        """
        excluded = (self.trunk.tokens_embed, self.trunk.positions_embed) if exclude_embeddings else ()
        embeddings = {id(variable) for module in excluded for variable in weights_of(module).values()}
        counted = [v for v in weights_of(self).values() if isinstance(v, nnx.Param) or not only_trainable]
        return sum(v.get_value().size for v in counted if id(v) not in embeddings)

    def resize_token_embeddings(
        self, new_num_tokens: int, pad_to_multiple_of: int | None = None, mean_resizing: bool = False
    ) -> nnx.Embed:
        """Resize the vocabulary in place and replace ``config``.

        Rows that remain keep their values, new rows get initial values.

        Args:
            new_num_tokens: New number of tokens.
            pad_to_multiple_of: A number; ``new_num_tokens`` is rounded up to a multiple of it. Default: no rounding.
            mean_resizing: Argument of transformers; must be ``False``, the default.

        Returns:
            The token embedding layer.
        """
        vocab_size = padded_vocabulary(new_num_tokens, pad_to_multiple_of, mean_resizing)
        config = self.config.replace(vocab_size=vocab_size)
        table = self.trunk.tokens_embed
        old = table.embedding.get_value()
        rows = from_numpy(resized_embedding(to_numpy_bits(old.astype(jnp.float32)), config), jnp.float32)
        shared = min(len(rows), len(old))
        table.embedding.set_value(rows.astype(old.dtype).at[:shared].set(old[:shared]))  # float64 rows keep every bit
        table.num_embeddings = len(rows)
        self._adopt(config)
        return table

    def gradient_checkpointing_enable(self) -> None:
        """Recompute each block in the backward pass: less memory, more time, the same gradients.

        On CPUs, XLA removes the recomputation, as it does for ``jax.checkpoint``, and needs the same memory as before.
        """
        self.trunk.gradient_checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """Switch gradient checkpointing off: keep activations for the backward pass again."""
        self.trunk.gradient_checkpointing = False

    # These methods are private because nnx.tabulate traces each public method.
    def _choose(self, argument: bool | None, name: str) -> bool:
        """An argument of the call or, if it is ``None``, the setting of the config."""
        return getattr(self.config, name) if argument is None else bool(argument)

    def _check(self, cache: KVCache | None = None, **inputs: Any) -> tuple[Any, ...]:
        """The arguments of a call as arrays, checked against the config; while tracing, only shapes and dtypes."""
        arrays = {name: as_tensor(name, value) for name, value in inputs.items()}
        described = {name: describe(array) for name, array in arrays.items() if array is not None}
        check_inputs(self.config, self.head, described, cache_info(cache, dtype_name(self.dtype)))
        return tuple(map(widened, arrays.values()))


def as_tensor(name: str, value: Any) -> Any:
    """Arrays and lists as NumPy arrays, to check ids before JAX narrows them; JAX arrays unchanged."""
    return value if value is None or isinstance(value, (jax.Array, nnx.Variable)) else as_array(name, value)


def widened(array: Any) -> Any:
    """Integers of the types in ``NARROW_INTEGERS`` as int32, which is JAX's default."""
    return array.astype(jnp.int32) if array is not None and array.dtype.name in NARROW_INTEGERS else array


def seeded(seed: int | jax.Array | None, rngs: nnx.Rngs | None) -> tuple[int | jax.Array | None, nnx.Rngs]:
    """The seed of the weights and the random streams of dropout; if one is not passed, it derives from the other."""
    if not isinstance(rngs, nnx.Rngs | None):
        raise InputError(f"rngs must be nnx.Rngs; got {type(rngs).__name__}. Pass nnx.Rngs({rngs!r}).")
    if seed is UNSET_SEED and rngs is not None and ("params" in rngs or "default" in rngs):
        seed = jax.random.bits(rngs.params(), dtype=jnp.uint32)
    if not isinstance(seed, jax.core.Tracer | None):
        check_seed(seed)
    if rngs is None or not ("dropout" in rngs or "default" in rngs):
        rngs = nnx.Rngs(jax.random.key(0 if seed is None else seed))
    return seed, rngs


def traced_fresh_values(model: FlaxOpenAIGPTPreTrainedModel, seed: int | jax.Array) -> Iterator[tuple[str, jax.Array]]:
    """``fresh_values`` inside a traced program: drawn on the host when it runs, so that tracing is cheap."""
    arguments = (seed,) if isinstance(seed, jax.Array) else ()
    for name, parameter in parameters(model.config, model.head).items():

        def draw(number: Any = seed, parameter: Parameter = parameter) -> NDArray[Any]:
            return initial_value(parameter, model.config, int(number)).astype(model.dtype)

        shape = jax.ShapeDtypeStruct(parameter.shape, model.dtype)
        yield name, jax.pure_callback(draw, shape, *arguments, vmap_method="sequential")


def describe(array: Any) -> ArrayInfo:
    """What the checks need to know about an array."""

    def values() -> NDArray[Any]:
        return np.asarray(array, np.float32 if array.dtype == jnp.bfloat16 else None)

    traced = isinstance(array, jax.core.Tracer)
    return ArrayInfo(known(array.shape), array.dtype.name, None if traced else values)
