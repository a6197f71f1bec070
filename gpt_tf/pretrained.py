"""What all four models share: initial weights, ``from_pretrained`` and ``save_pretrained``, resizing, input checks."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, Unpack, overload

import keras
import tensorflow as tf
from keras.src.backend import in_symbolic_scope

from gpt_tf.cache import KVCache
from gpt_tf.fit import BY_NAME, Fit
from gpt_tf.text import source_of
from gpt_tf.weights import (
    assign,
    dtype_name,
    export,
    framework_dtype,
    from_numpy,
    left_out,
    to_numpy_bits,
)
from gptcore.checkpoint import LoadingOptions, check_modules, fresh_values, open_pretrained, save_pretrained
from gptcore.convert.push import Pushable
from gptcore.errors import InputError
from gptcore.generation import Generates, GenerationConfig
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
from gptcore.spec.parameters import Head, resized_embedding
from gptcore.storage import hub

if TYPE_CHECKING:
    from gpt_tf.embedding import Embedding
    from gpt_tf.modeling import TFOpenAIGPTModel

IDS = ("input_ids", "token_type_ids", "position_ids", "mc_token_ids", "mc_labels")


class _LoadingKeywords(LoadingOptions, total=False):
    """All keywords of ``from_pretrained`` except ``output_loading_info``, which selects the type of the result."""

    dtype: str | tf.DType | keras.DTypePolicy | None
    attn_implementation: str
    quantization: str | None
    seed: int


class TFOpenAIGPTPreTrainedModel(Configured, Fit, Pushable, keras.Model):
    """Base of the four models; ``config`` and ``head`` determine its parameters.

    ``fit`` after ``compile(optimizer)`` minimises the model's own losses, with the labels in the dict of inputs. After
    ``compile(optimizer, loss)`` it passes the logits to that loss. ``gpt_tf.fit.Fit`` has the details.
    """

    head: ClassVar[Head]
    if TYPE_CHECKING:
        transformer: TFOpenAIGPTModel  # in models with a head
        _attn_implementation: str  # in the trunk

    def __init__(self, config: OpenAIGPTConfig, **keras_options: Any) -> None:
        dtype = framework_dtype(keras_options.pop("dtype", None))
        super().__init__(dtype=dtype, autocast=False, **keras_options)  # labels keep their dtype
        self.config = config
        self.gradient_checkpointing = False

    def materialize(self, seed: int | None) -> None:
        """With a seed, give the parameters their initial values.

        The variables are created first. A subclass may still add layers.
        """
        self.build()
        self._tracker.unlock()
        if seed is not None:
            assign(self, fresh_values(self.config, self.head, dtype_name(self.dtype), seed))

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
        dtype: str | tf.DType | keras.DTypePolicy | None = None,
        attn_implementation: str = "sdpa",
        quantization: str | None = None,
        output_loading_info: bool = False,
        seed: int = 0,
        **options: Unpack[LoadingOptions],
    ) -> Self | tuple[Self, dict[str, list[str]]]:
        """Load a checkpoint from a folder, a weights file or the hub.

        Args:
            path_or_repo_id: A folder, a weights file, or ``owner/name`` on the hub.
            dtype: Dtype of the weights in memory, or a Keras policy: Keras' global policy if ``None``, ``auto`` for the
                stored dtype.
            attn_implementation: ``"sdpa"`` (the default) or ``"eager"``, as in ``TFOpenAIGPTModel``.
            quantization: Must be ``None``; only PyTorch supports ``"int8"``.
            output_loading_info: Whether to also return a dict of ``missing_keys``, which got initial values, and
                ``unexpected_keys``, which are ignored.
            seed: Random seed of the weights that the checkpoint lacks; default 0.
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
        policy = None if dtype == "auto" else framework_dtype(dtype)
        stored_as = dtype_name(policy) if policy else "auto"
        check_quantization(quantization)
        source = open_pretrained(path_or_repo_id, cls.head, stored_as, **options)
        settings = {"dtype": policy or source.dtype, "attn_implementation": attn_implementation}
        model = cls(source.config, seed=None, **settings)
        model._tokenizer_source = source_of(path_or_repo_id, hub.split_options(options)[0])
        assign(model, source.values(seed))
        if isinstance(model, Generates):
            model._load_generation_config(source.folder)
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

    def get_config(self) -> dict[str, Any]:
        """The settings in a ``.keras`` file, from which Keras creates the model again."""
        generation_config = getattr(self, "_generation_config", None)
        return {
            "config": self.config.to_dict(),
            "generation_config": generation_config and generation_config.to_dict(),
            "dtype": self.dtype_policy.name,
            "attn_implementation": self.attn_implementation,
            "name": self.name,
            "trainable": self.trainable,
            "frozen": [name for name, layer in layers_of(self).items() if not layer.trainable],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """The inverse of ``get_config``."""
        settings = {**config, "config": OpenAIGPTConfig.from_dict(config["config"])}
        frozen, generation_config = settings.pop("frozen", None), settings.pop("generation_config", None)
        model = cls(**settings)
        if generation_config is not None:
            model.generation_config = GenerationConfig.from_dict(generation_config)
        if not all(layer.built for layer in model.layers):  # a subclass may create layers in a call
            model.compute_output_spec(keras.KerasTensor(model.ids_shape(1), "int32"))
        if frozen is not None:  # older files lack it
            for name, layer in layers_of(model).items():
                layer.trainable = name not in frozen
        return model

    def ids_shape(self, size: int | None) -> tuple[int | None, ...]:
        """The shape of ``input_ids``, with ``size`` in each dimension."""
        return (size,) * (3 if self.head is Head.DOUBLE_HEADS else 2)

    @functools.wraps(keras.Model.export)
    def export(
        self,
        filepath: str | Path,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **options: Any,
    ) -> None:
        if input_signature is None:
            input_signature = [tf.TensorSpec(self.ids_shape(None), tf.int32, name="input_ids")]
        super().export(filepath, format, verbose, input_signature, **options)

    @property
    def trunk(self) -> TFOpenAIGPTModel:
        """The ``TFOpenAIGPTModel``: this model itself, or the model under its head."""
        return self if self.head is Head.NONE else self.transformer

    def __dir__(self) -> list[str]:
        """Without ``trunk`` and ``tokenizer``: Keras would save the same variables twice, and load the tokenizer."""
        return [name for name in super().__dir__() if name not in ("trunk", "tokenizer")]

    @property
    def attn_implementation(self) -> str:
        """``"sdpa"`` or ``"eager"``; may be changed at any time.

        A compiled model that contains this one must be compiled again.
        """
        return self.trunk._attn_implementation

    @attn_implementation.setter
    def attn_implementation(self, value: str) -> None:
        self.trunk._attn_implementation = check_attn_implementation(value)
        self._forget_compiled()

    def get_input_embeddings(self) -> Embedding:
        """The token embedding layer, callable on ids; its weight is also that of the language-modelling head."""
        return self.trunk.tokens_embed

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Number of weights, including those of adapters; a tied weight counts once.

        Args:
            only_trainable: Whether to count only weights that are trained. Default: ``False``.
            exclude_embeddings: Whether to leave out the token and position embeddings. Default: ``False``.
        """
        excluded = (self.trunk.tokens_embed, self.trunk.positions_embed) if exclude_embeddings else ()
        embeddings = {id(variable) for layer in excluded for variable in layer.weights}
        counted = self.trainable_weights if only_trainable else self.weights
        return sum(v.shape.num_elements() for v in counted if id(v) not in embeddings)

    def resize_token_embeddings(
        self, new_num_tokens: int, pad_to_multiple_of: int | None = None, mean_resizing: bool = False
    ) -> Embedding:
        """Resize the vocabulary in place and replace ``config``.

        Rows that remain keep their values, new rows get initial values.

        Call ``compile`` again afterwards, also on a model that contains this one: the optimizer and the compiled
        functions of a compiled model refer to the old variable.

        Args:
            new_num_tokens: New number of tokens.
            pad_to_multiple_of: A number; ``new_num_tokens`` is rounded up to a multiple of it. Default: no rounding.
            mean_resizing: Argument of transformers; must be ``False``, the default.

        Returns:
            The token embedding layer.
        """
        vocab_size = padded_vocabulary(new_num_tokens, pad_to_multiple_of, mean_resizing)
        config = self.config.replace(vocab_size=vocab_size)
        old = tf.convert_to_tensor(self.trunk.tokens_embed.embeddings)
        wide = to_numpy_bits(tf.cast(old, tf.float32))
        rows = tf.cast(from_numpy(resized_embedding(wide, config), tf.float32), old.dtype)
        shared = min(len(rows), len(old))
        rows = tf.concat([old[:shared], rows[shared:]], 0)  # float64 rows keep every bit
        self.trunk.tokens_embed.replace(rows)
        self._adopt(config)
        self._forget_compiled()
        return self.trunk.tokens_embed

    def gradient_checkpointing_enable(self) -> None:
        """Recompute each block in the backward pass: less memory, more time, the same gradients.

        You may call it after ``compile``. A compiled model that contains this one must be compiled again.
        """
        self.trunk.gradient_checkpointing = True
        self._forget_compiled()

    def gradient_checkpointing_disable(self) -> None:
        """Switch gradient checkpointing off: keep activations for the backward pass again."""
        self.trunk.gradient_checkpointing = False
        self._forget_compiled()

    def _forget_compiled(self) -> None:
        """Have Keras compile its functions again: they hold the old token table, attention and way to train."""
        for model in (self, self.trunk):
            for use in ("train", "test", "predict"):
                if getattr(model, f"{use}_function") is not None:  # a callback of fit may be the caller: never None
                    getattr(model, f"make_{use}_function")(force=True)

    def _choose(self, argument: bool | None, name: str) -> bool:
        """An argument of the call or, if it is ``None``, the setting of the config."""
        return getattr(self.config, name) if argument is None else bool(argument)

    def _check(self, cache: KVCache | None = None, **inputs: Any) -> tuple[Any, ...]:
        """The arguments of a call as tensors, checked against the config; while tracing, only shapes and dtypes."""
        try:
            tensors = {name: as_tensor(name, value) for name, value in inputs.items()}
            described = {name: describe(tensor) for name, tensor in tensors.items() if tensor is not None}
            check_inputs(self.config, self.head, described, cache_info(cache, self.compute_dtype))
        except InputError as error:  # Keras and AutoGraph would rewrite it
            error._keras_call_info_injected = error.ag_pass_through = True  # type: ignore[attr-defined]
            raise
        return tuple(map(widened, tensors.values()))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As ``call``, but a dict as the first argument holds all inputs, and a Keras mask on the ids or embeddings
        becomes the attention mask if none is passed.
        """
        if args and isinstance(args[0], Mapping):
            inputs = args[0]
            if len(args) > 1:
                raise InputError(
                    f"inputs after a dict must be keyword arguments; got {len(args) - 1} positional. Pass them by name."
                )
            check_names(inputs, inspect.signature(self.call).parameters)
            args, kwargs = (), dict(**inputs, **kwargs)
        elif any(isinstance(value, (list, str)) for value in args):  # which Keras allows by keyword only
            args, kwargs = (), inspect.signature(self.call).bind(*args, **kwargs).arguments
        names = [*self.call_signature_parameters, *[""] * len(args)][: len(args)]
        inputs_by_name = {**dict(zip(names, args, strict=True)), **kwargs}
        check_one_array(inputs_by_name.get("input_ids"))
        masks = (getattr(inputs_by_name.get(name), "_keras_mask", None) for name in ("input_ids", "inputs_embeds"))
        mask = next((mask for mask in masks if isinstance(mask, tf.Tensor)), None)
        if mask is not None and inputs_by_name.get("attention_mask") is None:
            args = tuple(mask if name == "attention_mask" else value for name, value in zip(names, args, strict=True))
            kwargs = kwargs if "attention_mask" in names else {**kwargs, "attention_mask": mask}
        if in_symbolic_scope():
            args = tuple(self.without_values(*pair) for pair in zip(names, args, strict=True))
            kwargs = {name: self.without_values(name, value) for name, value in kwargs.items()}
        return super().__call__(*args, **kwargs)

    def without_values(self, name: str, value: Any) -> Any:
        """Ids as integers while Keras builds a model that contains this one: it then passes all tensors as float32."""
        is_ids = name in IDS or (name == "labels" and self.head is not Head.SEQUENCE_CLASSIFICATION)
        return tf.cast(value, tf.int32) if is_ids and tf.is_tensor(value) and value.dtype.is_floating else value


def check_names(inputs: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]) -> None:
    """Raise an ``InputError`` for a column of a dataset, such as ``label``, that is not an argument of ``call``."""
    unknown = [name for name in inputs if name not in parameters]
    if unknown and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        raise InputError(f"inputs must be among {list(parameters)}; got {unknown}. Rename them or leave them out.")


def check_one_array(input_ids: Any) -> None:
    """Raise an ``InputError`` for ``[input_ids, attention_mask]``, which would be read as more dimensions of ids."""
    arrays = [x for x in input_ids if hasattr(x, "shape")] if isinstance(input_ids, (list, tuple)) else []
    if any((tf.TensorShape(array.shape).rank or 0) > 1 for array in arrays):
        raise InputError(f"input_ids must be one array; got a list of {len(input_ids)}. {BY_NAME}")


def layers_of(layer: keras.Layer, prefix: str = "") -> dict[str, keras.Layer]:
    """The layers inside a layer by their names, outer ones first."""
    layers: dict[str, keras.Layer] = {}
    for child in layer._flatten_layers(include_self=False, recursive=False):
        name = prefix + child.name
        layers |= {name: child, **layers_of(child, f"{name}/")}
    return layers


def build_once(*layers: keras.layers.Layer) -> None:
    """Create the variables of layers that have none yet: Keras may build a model again, with any shape."""
    for layer in layers:
        if not layer.built:
            layer.build(None)


def as_tensor(name: str, value: Any) -> tf.Tensor | None:
    """Arrays and lists as tensors; tensors unchanged."""
    if isinstance(value, tf.RaggedTensor):
        raise InputError(f"{name} must have rows of one length; got a RaggedTensor. Call to_tensor() and pass a mask.")
    if value is None or (hasattr(value, "dtype") and value.dtype != "string"):
        return value
    value = "" if hasattr(value, "dtype") else value
    return tf.convert_to_tensor(as_array(name, value))


def widened(tensor: tf.Tensor | None) -> tf.Tensor | None:
    """Integers as int64 if TensorFlow cannot index with their type."""
    return tf.cast(tensor, tf.int64) if tensor is not None and tensor.dtype.name in NARROW_INTEGERS else tensor


def describe(tensor: tf.Tensor) -> ArrayInfo:
    """What the checks need to know about a tensor."""
    values = tensor.numpy if isinstance(tensor, tf.__internal__.EagerTensor) else None
    return ArrayInfo(tuple(tensor.shape), tensor.dtype.name, values)
