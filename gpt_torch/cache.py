"""The KV cache: a value with a fixed number of slots, passed in and returned."""

from typing import NamedTuple, Self

import torch

from gpt_torch.weights import dtype_name, framework_dtype
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.inputs import CacheInfo, cache_length, check_capacity


class KVCache(NamedTuple):
    """Keys and values of the tokens so far.

    A call writes the new tokens after the filled slots, in the same memory, and returns a cache with more filled slots.
    Do not use the cache that you passed in again, and do not train with a cache.

    Attributes:
        keys, values: One (B, H, N, D) per layer, with N slots.
        attended: (B, N) bool, true for slots that hold a token and not padding; ``None`` if no filled slot is padding.
        length: Number of filled slots, an integer.

    >>> cache = KVCache.empty(OpenAIGPTConfig(n_embd=6, n_layer=1, n_head=2), batch_size=1, capacity=8)
    >>> cache.keys[0].shape, cache.length
    (torch.Size([1, 2, 8, 3]), 0)
    """

    keys: tuple[torch.Tensor, ...]
    values: tuple[torch.Tensor, ...]
    attended: torch.Tensor | None
    length: int

    @classmethod
    def empty(
        cls,
        config: OpenAIGPTConfig,
        batch_size: int,
        capacity: int | None = None,
        dtype: str | torch.dtype = torch.float32,
        device: str | torch.device | None = None,
    ) -> Self:
        """A cache without tokens.

        Args:
            config: The config of the model.
            batch_size: Number of rows: the product of the leading dimensions of the ids.
            capacity: Number of slots, at most ``n_positions``. Default: ``n_positions``.
            dtype: Dtype of keys and values, which must be the one in which the model computes. Default: float32.
            device: Device of the model. Default: PyTorch's default device.
        """
        capacity = check_capacity(config, capacity)
        shape = (batch_size, config.n_head, capacity, config.n_embd // config.n_head)
        slots = [torch.zeros(shape, dtype=framework_dtype(dtype), device=device) for _ in range(2 * config.n_layer)]
        return cls(tuple(slots[::2]), tuple(slots[1::2]), None, 0)

    @property
    def capacity(self) -> int:
        """Number of slots."""
        return self.keys[0].size(-2)

    def info(self) -> CacheInfo:
        """What the input checks need to know."""
        batch, heads, _, size = self.keys[0].shape
        sizes = (len(self.keys), heads, size)
        usual = isinstance(self.length, (int, torch.SymInt)) and self.length >= 0
        length = self.length if usual else cache_length(self.length)
        return CacheInfo(batch, self.capacity, length, sizes, dtype_name(self.keys[0].dtype))

    def extended(self, attention_mask: torch.Tensor | None, length: int) -> Self:
        """The cache with ``length`` more filled slots, masked by the last ``length`` columns of ``attention_mask``."""
        attended, filled = self.attended, slice(self.length, self.length + length)
        if attended is None and attention_mask is not None:
            batch, device = self.keys[0].size(0), self.keys[0].device
            attended = (torch.arange(self.capacity, device=device) < self.length).repeat(batch, 1)
        if attended is not None:
            new = 1 if attention_mask is None else attention_mask[:, -length:].bool()
            attended = attended.clone()
            attended[:, filled] = new
        return self._replace(attended=attended, length=self.length + length)

    def reordered(self, rows: torch.Tensor) -> Self:
        """The cache whose row i is row ``rows[i]`` of this one; ``rows`` (R,) may repeat."""
        return self._replace(
            keys=tuple(x.index_select(0, rows) for x in self.keys),
            values=tuple(x.index_select(0, rows) for x in self.values),
            attended=None if self.attended is None else self.attended.index_select(0, rows),
        )


def write(slots: torch.Tensor, new: torch.Tensor, length: int) -> torch.Tensor:
    """Put ``new`` (B, H, T, D) into the last T of ``length`` filled slots; returns all filled ones."""
    slots[:, :, length - new.size(2) : length] = new
    return slots[:, :, :length]
