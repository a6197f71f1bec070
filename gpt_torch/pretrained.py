"""What all four models share: initial weights, ``from_pretrained`` and ``save_pretrained``, resizing, input checks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, Unpack, overload

import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from gpt_torch.cache import KVCache
from gpt_torch.quantization import KINDS, Int8Embedding, Int8Weight, quantize
from gpt_torch.weights import (
    assign,
    device_of,
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
from gptcore.spec.parameters import Head, resized_embedding
from gptcore.storage import hub

if TYPE_CHECKING:
    from gpt_torch.modeling import OpenAIGPTModel

NARROW = tuple(getattr(torch, name) for name in NARROW_INTEGERS)


class _LoadingOptions(LoadingOptions, total=False):
    """The keywords that ``from_pretrained`` passes on, and those of transformers that only PyTorch has."""

    torch_dtype: str | torch.dtype | None
    device_map: Any


class _LoadingKeywords(_LoadingOptions, total=False):
    """All keywords of ``from_pretrained`` except ``output_loading_info``, which selects the type of the result."""

    dtype: str | torch.dtype | None
    attn_implementation: str
    quantization: str | None
    seed: int


class OpenAIGPTPreTrainedModel(Configured, Pushable, nn.Module):
    """Base of the four models; ``config`` and ``head`` determine its parameters."""

    head: ClassVar[Head]
    if TYPE_CHECKING:
        transformer: OpenAIGPTModel  # in models with a head
        _attn_implementation: str  # in the trunk

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        self.config = config
        self.gradient_checkpointing = False

    def materialize(self, dtype: str | torch.dtype | None, seed: int | None) -> None:
        """With a seed, give the parameters their initial values.

        First, the parameters move from the meta device to the default device.
        """
        self.to(framework_dtype(dtype or torch.get_default_dtype()))
        if torch.get_default_device().type != "meta":  # a head model materializes its trunk itself
            self.to_empty(device=torch.get_default_device())
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
        dtype: str | torch.dtype | None = None,
        attn_implementation: str = "sdpa",
        quantization: str | None = None,
        output_loading_info: bool = False,
        seed: int = 0,
        **options: Unpack[_LoadingOptions],
    ) -> Self | tuple[Self, dict[str, list[str]]]:
        """Load a checkpoint from a folder, a weights file or the hub.

        The loaded model is in evaluation mode.

        ``torch_dtype`` and ``device_map`` work as in transformers; the model must be on one device.

        Args:
            path_or_repo_id: A folder, a weights file, or ``owner/name`` on the hub.
            dtype: Dtype of the weights in memory: ``float32`` if ``None``, ``auto`` for the stored dtype.
            attn_implementation: ``"sdpa"`` (the default) or ``"eager"``, as in ``OpenAIGPTModel``.
            quantization: ``"int8"`` stores kernels and token embedding in one byte per weight, for inference only;
                such a model cannot be saved, resized or trained. Default: ``None``.
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
        check_quantization(quantization, KINDS)
        dtype = options.pop("torch_dtype", None) if dtype is None else dtype
        device = device_of(options.pop("device_map", None))
        source = open_pretrained(
            path_or_repo_id,
            cls.head,
            str(dtype).removeprefix("torch.") if dtype else None,
            **options,  # type: ignore[misc]  # without torch_dtype and device_map
        )
        with device or contextlib.nullcontext():
            model = cls(source.config, dtype=source.dtype, attn_implementation=attn_implementation, seed=None)  # type: ignore[call-arg]  # a model's own arguments
        assign(model, source.values(seed))
        if isinstance(model, Generates):
            model._load_generation_config(source.folder)
        model.eval()
        if quantization:
            quantize(model)
        return (model, source.report()) if output_loading_info else model

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        max_shard_size: int | str | None = None,
        is_main_process: bool = True,
        state_dict: Mapping[str, torch.Tensor] | None = None,
        **options: Any,
    ) -> None:
        """Write ``config.json`` and safetensors that the other two backends and transformers read.

        Args:
            folder: The folder to write; created if missing.
            max_shard_size: Maximum size of a file in bytes, or a string such as ``"2GB"``; a larger tensor gets a file
                of its own. Default: one file.
            is_main_process: Whether to write; pass ``False`` in the other processes of a run. Default: ``True``.
            state_dict: The tensors to write, by name: for example those that accelerate gathered, or the model's
                without the parameters that you added. Default: all tensors of the model.
            options: Other arguments of transformers have no effect, or raise an error that says what to do.
        """
        if saves(is_main_process, options):
            self.reject_quantized("saved")
            check_modules(self.head, (), left_out(self, state_dict))
            dtype = next(iter(state_dict.values())).dtype if state_dict else self.dtype
            values = export(self, state_dict)
            save_pretrained(folder, self.config, self.head, dtype_name(dtype), values, max_shard_size)
            if isinstance(self, Generates):
                self._save_generation_config(folder)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """As in PyTorch, but ignore ``lm_head.weight`` if it equals the token embedding.

        A ``state_dict`` of transformers has both.
        """
        names = (f"{prefix}lm_head.weight", f"{prefix}transformer.tokens_embed.weight")
        if hasattr(self, "lm_head") and all(name in state_dict for name in names):
            head, tokens = (state_dict[name] for name in names)
            if head is tokens or torch.equal(head, tokens):
                del state_dict[names[0]]
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    @property
    def trunk(self) -> OpenAIGPTModel:
        """The ``OpenAIGPTModel``: this model itself, or the model under its head."""
        return self if self.head is Head.NONE else self.transformer  # type: ignore[return-value]  # without a head, the trunk

    @property
    def attn_implementation(self) -> str:
        """``"sdpa"`` or ``"eager"``; may be changed at any time."""
        return self.trunk._attn_implementation

    @attn_implementation.setter
    def attn_implementation(self, value: str) -> None:
        self.trunk._attn_implementation = check_attn_implementation(value)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.trunk.positions_embed.weight.dtype

    @property
    def device(self) -> torch.device:
        """The device of the weights; if accelerate offloads them, the device to which it loads them."""
        embedding = self.trunk.tokens_embed
        offloaded = getattr(getattr(embedding, "_hf_hook", None), "execution_device", None)
        return embedding.weight.device if offloaded is None else torch.device(offloaded)

    def get_input_embeddings(self) -> nn.Embedding | Int8Embedding:
        """The token embedding layer, callable on ids; its weight is also that of the language-modelling head."""
        return self.trunk.tokens_embed

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Number of weights, including those of adapters; a tied weight counts once.

        Args:
            only_trainable: Whether to count only weights that are trained. Default: ``False``.
            exclude_embeddings: Whether to leave out the token and position embeddings. Default: ``False``.
        """
        counted: list[torch.Tensor] = [p for p in self.parameters() if p.requires_grad or not only_trainable]
        if not only_trainable:
            counted += [module.weight for module in self.modules() if isinstance(module, Int8Weight)]
        excluded = (self.trunk.tokens_embed, self.trunk.positions_embed) if exclude_embeddings else ()
        embeddings = {id(tensor) for module in excluded for tensor in module.state_dict(keep_vars=True).values()}
        return sum(p.numel() for p in counted if id(p) not in embeddings)

    def resize_token_embeddings(
        self, new_num_tokens: int, pad_to_multiple_of: int | None = None, mean_resizing: bool = False
    ) -> nn.Embedding:
        """Resize the vocabulary in place and replace ``config``.

        Rows that remain keep their values, new rows get initial values.

        Args:
            new_num_tokens: New number of tokens.
            pad_to_multiple_of: A number; ``new_num_tokens`` is rounded up to a multiple of it. Default: no rounding.
            mean_resizing: Argument of transformers; must be ``False``, the default.

        Returns:
            The token embedding layer.
        """
        self.reject_quantized("resized")
        vocab_size = padded_vocabulary(new_num_tokens, pad_to_multiple_of, mean_resizing)
        config = self.config.replace(vocab_size=vocab_size)
        old = self.trunk.tokens_embed.weight
        wide = to_numpy_bits(old.float())
        rows = from_numpy(resized_embedding(wide, config), torch.float32).to(old)
        shared = min(len(rows), len(old))
        rows[:shared] = old.detach()[:shared]  # float64 rows keep every bit
        table = self.trunk.tokens_embed = nn.Embedding.from_pretrained(rows, freeze=not old.requires_grad)
        self._adopt(config)
        return table

    def gradient_checkpointing_enable(
        self,
        gradient_checkpointing_kwargs: dict[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """Recompute each block in the backward pass: less memory, more time, the same gradients.

        Args:
            gradient_checkpointing_kwargs: Arguments of ``torch.utils.checkpoint.checkpoint``, as a dict; by default,
                ``use_reentrant`` is false.
            every_n_layers, offload: Arguments of transformers; must be 1 and ``False``.
        """
        if every_n_layers != 1 or offload:
            raise InputError(
                f"every_n_layers must be 1 and offload False; got {every_n_layers} and {offload}. Leave them out."
            )
        self.trunk.gradient_checkpointing = True
        self.trunk.checkpointing_options = {"use_reentrant": False, **(gradient_checkpointing_kwargs or {})}

    def gradient_checkpointing_disable(self) -> None:
        """Switch gradient checkpointing off: keep activations for the backward pass again."""
        self.trunk.gradient_checkpointing = False

    def activation_checkpointing_enable(
        self, activation_checkpointing_kwargs: dict[str, Any] | None = None, **options: Any
    ) -> None:
        """The newer name of ``gradient_checkpointing_enable`` in transformers."""
        self.gradient_checkpointing_enable(activation_checkpointing_kwargs, **options)

    activation_checkpointing_disable = gradient_checkpointing_disable

    def reject_quantized(self, what: str) -> None:
        """Raise an ``InputError`` if the model is quantized, and so cannot be ``what``, such as ``"saved"``."""
        if isinstance(self.trunk.tokens_embed, Int8Embedding):
            raise InputError(f"a quantized model cannot be {what}. Load it without quantization.")

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode or, with ``mode=False``, to evaluation mode.

        Raises:
            InputError: A quantized model cannot be trained.
        """
        if mode:
            self.reject_quantized("trained")
        return super().train(mode)

    def _choose(self, argument: bool | None, name: str) -> bool:
        """An argument of the call or, if it is ``None``, the setting of the config."""
        # TorchScript traces tuples only.
        if argument is None and name == "return_dict" and torch.jit.is_tracing():
            return False
        return getattr(self.config, name) if argument is None else bool(argument)

    def _check(self, cache: KVCache | None = None, **inputs: Any) -> tuple[Any, ...]:
        """The arguments of a call as tensors, checked against the config; while tracing, only shapes and dtypes.

        Under ``torch.compile``, nothing is checked.
        """
        tensors = {name: as_tensor(name, value, self.device) for name, value in inputs.items()}
        if not torch.compiler.is_compiling():  # which would put the checks into the graph
            described = {name: describe(tensor) for name, tensor in tensors.items() if tensor is not None}
            check_inputs(self.config, self.head, described, cache_info(cache, dtype_name(self.dtype)))
        return tuple(map(widened, tensors.values()))


def as_tensor(name: str, value: Any, device: torch.device) -> torch.Tensor | None:
    """Arrays and lists as tensors; tensors unchanged."""
    if value is None or isinstance(value, torch.Tensor):
        return value
    return torch.from_numpy(as_array(name, value)).to(device)


def widened(tensor: torch.Tensor | None) -> torch.Tensor | None:
    """Integers as int64 if PyTorch cannot index with their type."""
    return tensor.long() if tensor is not None and tensor.dtype in NARROW else tensor


def describe(tensor: torch.Tensor) -> ArrayInfo:
    """What the checks need to know about a tensor."""

    def values() -> NDArray[Any]:
        return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).detach().cpu().numpy()

    return ArrayInfo(tuple(tensor.shape), dtype_name(tensor.dtype), values if readable(tensor) else None)


def readable(tensor: torch.Tensor) -> bool:
    """Whether a tensor has values now; not on the meta device, under tracing or under function transforms."""
    traced = torch.jit.is_tracing() or is_in_torch_dispatch_mode() or torch._C._are_functorch_transforms_active()
    captured = tensor.is_cuda and torch.cuda.is_current_stream_capturing()
    return type(tensor) is torch.Tensor and not (tensor.is_meta or traced or captured)


@contextlib.contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards each module is back in its own mode."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
