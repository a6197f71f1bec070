"""Framework-neutral training: data, batches, the loop and its checkpoints. The backends implement the steps."""

from gptcore.backends.training import Trainer
from gptcore.spec.recipe import FINE_TUNING, PRETRAINING, Recipe, RecipeSettings
from gptcore.spec.tasks import TASKS, add_task_tokens
from gptcore.training.batches import Batches, counts, micro_batches, objective, once, shares
from gptcore.training.checkpoints import Checkpoints
from gptcore.training.corpus import Blocks, TokenFile, tokenize_corpus
from gptcore.training.evaluation import evaluate_lm, evaluate_task
from gptcore.training.examples import TaskExamples, label_settings, places
from gptcore.training.fingerprints import fingerprint, tokenizer_fingerprint
from gptcore.training.fitting import evaluate, fit
from gptcore.training.memory import keep_freed_memory
from gptcore.training.run import Evaluation, Interrupted, Run, read_log
from gptcore.training.steps import dropout_seed, rows_of_process

__all__ = [
    "FINE_TUNING",
    "PRETRAINING",
    "TASKS",
    "Batches",
    "Blocks",
    "Checkpoints",
    "Evaluation",
    "Interrupted",
    "Recipe",
    "RecipeSettings",
    "Run",
    "TaskExamples",
    "TokenFile",
    "Trainer",
    "add_task_tokens",
    "counts",
    "dropout_seed",
    "evaluate",
    "evaluate_lm",
    "evaluate_task",
    "fingerprint",
    "fit",
    "keep_freed_memory",
    "label_settings",
    "micro_batches",
    "objective",
    "once",
    "places",
    "read_log",
    "rows_of_process",
    "shares",
    "tokenize_corpus",
    "tokenizer_fingerprint",
]
