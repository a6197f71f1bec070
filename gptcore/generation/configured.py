"""``Generates``: the generation settings that belong to a language model of any framework."""

from __future__ import annotations

from pathlib import Path

from gptcore.errors import bullet_list, warn_once
from gptcore.generation.config import GenerationConfig
from gptcore.generation.request import check_generation_config, settled
from gptcore.idioms import GENERATING, unsupported
from gptcore.spec.config import GENERATION_CONFIG_NAME, OpenAIGPTConfig


class Generates:
    """A model with ``generate``."""

    config: OpenAIGPTConfig
    _generation_config: GenerationConfig | None = None

    @property
    def generation_config(self) -> GenerationConfig:
        """The default settings of ``generate``.

        They are set by the user or loaded from ``generation_config.json``; otherwise they are the defaults, with the
        token ids of ``config``. ``save_pretrained`` writes them if they were set or loaded.

        Raises:
            InputError: The new value is not a ``GenerationConfig``.
        """
        return self._generation_config or settled(self.config, None, {})

    @generation_config.setter
    def generation_config(self, generation_config: GenerationConfig | None) -> None:
        check_generation_config(generation_config)
        self._generation_config = generation_config

    def _load_generation_config(self, folder: str | Path) -> None:
        """Load ``generation_config.json`` if the folder has one; missing token ids come from ``config``.

        Settings of transformers that are not supported are ignored with a warning.
        """
        if (Path(folder) / GENERATION_CONFIG_NAME).is_file():
            stored = GenerationConfig.from_pretrained(folder)
            ids = {name: getattr(self.config, name) for name in ("eos_token_id", "pad_token_id")}
            missing = {name: value for name, value in ids.items() if getattr(stored, name) is None}
            self._generation_config = stored.replace(**missing)
            problems = unsupported(stored.extra, GENERATING)
            if problems:
                warn_once(f"These settings of {GENERATION_CONFIG_NAME} are ignored:\n" + bullet_list(problems))

    def _save_generation_config(self, folder: str | Path) -> None:
        """Write ``generation_config.json`` if settings were set or loaded."""
        if self._generation_config is not None:
            self._generation_config.save_pretrained(folder)
