"""``Configured``: the config that a head and its trunk share, in the models of all frameworks."""

from __future__ import annotations

from typing import ClassVar

from gptcore.errors import ConfigError, bullet_list
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head

OF_TRUNK = (
    *("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"),
    *("afn", "resid_pdrop", "embd_pdrop", "attn_pdrop", "layer_norm_epsilon"),
)
OF_SUMMARY = (
    *("summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels"),
    *("summary_first_dropout", "summary_last_dropout"),
)
BUILT_IN = {
    Head.NONE: OF_TRUNK,
    Head.LM: OF_TRUNK,
    Head.DOUBLE_HEADS: OF_TRUNK + OF_SUMMARY,
    Head.SEQUENCE_CLASSIFICATION: (*OF_TRUNK, "num_labels"),
}
"""The settings that the weights and layers of each model are built from, which it cannot change afterwards."""


class Configured:
    """A model with a ``config``. Its ``transformer``, if it has one, always has the same config."""

    head: ClassVar[Head]

    @property
    def config(self) -> OpenAIGPTConfig:
        """The settings of the model. To change some, set ``model.config = model.config.replace(...)``.

        Raises:
            ConfigError: The new config changes a setting that the weights or layers were built from.
        """
        return self._config

    @config.setter
    def config(self, config: OpenAIGPTConfig) -> None:
        if hasattr(self, "_config"):
            check_change(self._config, config, self.head)
        self._adopt(config)

    def _adopt(self, config: OpenAIGPTConfig) -> None:
        """Set a config that fits, also on the trunk."""
        self._config = config
        if hasattr(self, "transformer"):
            self.transformer._adopt(config)


def check_change(old: OpenAIGPTConfig, new: OpenAIGPTConfig, head: Head) -> None:
    """Raise a ``ConfigError`` if a model that was built from ``old`` cannot use ``new``.

    >>> check_change(OpenAIGPTConfig(), OpenAIGPTConfig(output_attentions=True), Head.LM)
    """
    changed = [
        f"{name} must stay {getattr(old, name)!r}; got {getattr(new, name)!r}"
        for name in BUILT_IN[head]
        if getattr(old, name) != getattr(new, name)
    ]
    if changed:
        raise ConfigError(
            f"cannot change settings that {head.architecture} was built from. Create a new model with this config, or "
            "pass the settings to from_pretrained, with ignore_mismatched_sizes=True if the head needs another shape. "
            "For vocab_size, call resize_token_embeddings.\n" + bullet_list(changed)
        )
