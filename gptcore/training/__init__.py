"""Training, framework-neutral: data, batches, the loop and its checkpoints. The steps are in the backends."""

from gptcore.training.batches import Batches, micro_batches, objective, once, shares
from gptcore.training.checkpoints import Checkpoints
from gptcore.training.corpus import Blocks, TokenFile, tokenize_corpus
from gptcore.training.fingerprints import fingerprint, tokenizer_fingerprint
from gptcore.training.memory import keep_freed_memory
from gptcore.training.run import Evaluation, Interrupted, Run, read_log
from gptcore.training.trainer import Trainer, dropout_seed, rows_of_process

__all__ = [
    "Batches",
    "Blocks",
    "Checkpoints",
    "Evaluation",
    "Interrupted",
    "Run",
    "TokenFile",
    "Trainer",
    "dropout_seed",
    "fingerprint",
    "keep_freed_memory",
    "micro_batches",
    "objective",
    "once",
    "read_log",
    "rows_of_process",
    "shares",
    "tokenize_corpus",
    "tokenizer_fingerprint",
]
