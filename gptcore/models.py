"""What the models of all frameworks share: one config for a head and its trunk."""

from __future__ import annotations

from typing import ClassVar

from gptcore.config import OpenAIGPTConfig
from gptcore.errors import ConfigError, bullet_list
from gptcore.parameters import Head

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
"""The settings that the weights and layers of a model are made with."""


class Configured:
    """A model with a ``config``. Its ``transformer``, if it has one, always has the same."""

    head: ClassVar[Head]

    @property
    def config(self) -> OpenAIGPTConfig:
        """The settings; to change some, set ``model.config = model.config.replace(...)``.

        Raises:
            ConfigError: when set, if the weights or layers were made with another value.
        """
        return self._config

    @config.setter
    def config(self, config: OpenAIGPTConfig) -> None:
        if hasattr(self, "_config"):
            check_change(self._config, config, self.head)
        self._adopt(config)

    def _adopt(self, config: OpenAIGPTConfig) -> None:
        """Take a config that fits, in the trunk too."""
        self._config = config
        if hasattr(self, "transformer"):
            self.transformer._adopt(config)


def check_change(old: OpenAIGPTConfig, new: OpenAIGPTConfig, head: Head) -> None:
    """Raise a ``ConfigError`` if a model of ``old`` cannot become one of ``new`` as it is.

    >>> check_change(OpenAIGPTConfig(), OpenAIGPTConfig(output_attentions=True), Head.LM)
    """
    changed = [
        f"{name} must stay {getattr(old, name)!r}; got {getattr(new, name)!r}"
        for name in BUILT_IN[head]
        if getattr(old, name) != getattr(new, name)
    ]
    if changed:
        raise ConfigError(
            f"cannot change settings that {head.architecture} was made with. Make a new model with this config, or "
            "load the checkpoint with the settings as keywords of from_pretrained, and ignore_mismatched_sizes=True "
            "for a fresh head; for vocab_size call resize_token_embeddings.\n" + bullet_list(changed)
        )
