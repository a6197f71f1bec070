"""Our PyTorch models in the trainers of transformers and Lightning, and with adapters of PEFT; opt-in."""

import datasets
import lightning
import peft
import pytest
import torch
import transformers
from torch.utils.data import DataLoader

from gpt_torch import OpenAIGPTConfig, OpenAIGPTForSequenceClassification, OpenAIGPTLMHeadModel
from gpt_torch.projection import Projection
from gptcore import DEFAULT_MODEL
from tokenization import OpenAIGPTTokenizerFast

pytestmark = pytest.mark.filterwarnings("default")  # other libraries deprecate in their own time

DROPOUTS = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
CONFIG = OpenAIGPTConfig(vocab_size=61, n_positions=16, n_embd=32, n_layer=2, n_head=2, **DROPOUTS)
IDS = torch.arange(96).view(8, 12) % 61
ROWS = [{"input_ids": row, "labels": row} for row in IDS]


class Sampling(transformers.TrainerCallback):
    """Looks at what the model writes, before a checkpoint is saved."""

    samples = 0

    def on_evaluate(self, args, state, control, model, **kwargs):
        assert model.generate(IDS[:1], max_new_tokens=2).shape == (1, 14)
        self.samples += 1


def arguments(folder, learning_rate=1e-2, **settings):
    return transformers.TrainingArguments(
        output_dir=str(folder),
        use_cpu=True,
        report_to=[],
        learning_rate=learning_rate,
        max_steps=6,
        per_device_train_batch_size=4,
        logging_steps=1,
        disable_tqdm=True,
        **settings,
    )


def trainer(folder, callbacks=(), **settings):
    model = OpenAIGPTLMHeadModel(CONFIG)
    data = {"train_dataset": ROWS, "eval_dataset": ROWS}
    return transformers.Trainer(model, arguments(folder, **settings), callbacks=[*callbacks], **data)


def losses(run):
    return [entry["loss"] for entry in run.state.log_history if "loss" in entry]


def test_transformers_trainer(tmp_path):
    """Samples between updates, saves, resumes as if nothing had happened, evaluates, and what it trained loads."""
    sampling = Sampling()
    saving = {"save_steps": 3, "eval_strategy": "steps", "eval_steps": 3}
    whole, plain = trainer(tmp_path / "run", [sampling], **saving), trainer(tmp_path / "plain", save_strategy="no")
    whole.train()
    plain.train()
    assert sampling.samples == 2
    assert losses(whole) == pytest.approx(losses(plain), rel=1e-4)
    assert losses(whole)[-1] < losses(whole)[0] - 0.5
    resumed = trainer(tmp_path / "run")
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3"))
    assert losses(resumed)[-3:] == pytest.approx(losses(whole)[-3:], rel=1e-4)
    assert whole.evaluate()["eval_loss"] < losses(whole)[0]
    whole.model.save_pretrained(tmp_path / "trained")
    loaded = OpenAIGPTLMHeadModel.from_pretrained(tmp_path / "trained")
    torch.testing.assert_close(loaded(IDS).logits, whole.model.eval()(IDS).logits)


@pytest.mark.parametrize("settings", [{"bf16": True}, {"activation_checkpointing": True}], ids=str)
def test_transformers_trainer_saves_memory(tmp_path, settings):
    run, plain = trainer(tmp_path, save_strategy="no", **settings), trainer(tmp_path, save_strategy="no")
    run.train()
    plain.train()
    assert losses(run) == pytest.approx(losses(plain), rel=0.05 if "bf16" in settings else 1e-4)


def test_transformers_trains_a_classifier_on_texts(tmp_path):
    """A table of texts, our tokenizer, padding by batch, a metric; what was saved classifies as it did."""
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(DEFAULT_MODEL, pad_token="<unk>")
    texts = [f"{subject} was {word}" for subject in ("the dog", "it") for word in ("good", "bad", "good", "bad")]
    rows = datasets.Dataset.from_dict({"text": texts, "label": [0, 1] * 4})
    rows = rows.map(lambda batch: tokenizer(batch["text"]), batched=True)
    settings = {"num_labels": 2, "pad_token_id": tokenizer.pad_token_id, **DROPOUTS}
    model = OpenAIGPTForSequenceClassification.from_pretrained(DEFAULT_MODEL, **settings)
    run = transformers.Trainer(
        model,
        arguments(tmp_path, learning_rate=1e-3, save_strategy="no"),
        train_dataset=rows,
        eval_dataset=rows,
        processing_class=tokenizer,
        data_collator=transformers.DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda found: {"accuracy": (found.predictions.argmax(-1) == found.label_ids).mean()},
    )
    run.train()
    assert run.evaluate()["eval_accuracy"] == 1
    run.save_model(tmp_path / "saved")
    model.config.save_pretrained(tmp_path / "saved")  # Trainer saves the config of its own models only
    loaded = OpenAIGPTForSequenceClassification.from_pretrained(tmp_path / "saved")
    again = OpenAIGPTTokenizerFast.from_pretrained(tmp_path / "saved")
    inputs = again(texts, padding=True, return_tensors="pt")
    torch.testing.assert_close(loaded(**inputs).logits, model.eval()(**inputs).logits)


def test_transformers_reads_what_is_saved(tmp_path):
    model = OpenAIGPTLMHeadModel(CONFIG).eval()
    model.save_pretrained(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(theirs(IDS).logits, model(IDS).logits, rtol=0, atol=1e-4)


class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = OpenAIGPTLMHeadModel(CONFIG)
        self.losses = []

    def training_step(self, batch):
        output = self.model(**batch)
        self.losses.append(output.loss.item())
        return output

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 1e-2)


def test_lightning(tmp_path):
    module = Module()
    options = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "default_root_dir": tmp_path}
    run = lightning.Trainer(max_steps=6, enable_model_summary=False, **options)
    run.fit(module, DataLoader(ROWS, 4))
    assert module.losses[-1] < module.losses[0] - 0.5
    again = Module.load_from_checkpoint(run.checkpoint_callback.best_model_path)
    torch.testing.assert_close(again.model.eval()(IDS).logits, module.model.eval()(IDS).logits)


def lora(**settings):
    """For modules by name, PEFT has to be told which of its layers adapts ours; its kernels are stored (in, out)."""
    config = peft.LoraConfig(r=4, **settings)
    if config.fan_in_fan_out:
        config._register_custom_module({Projection: peft.tuners.lora.Linear})
    return config


ADAPTERS = {
    "modules": {
        "target_modules": ["c_attn", "c_fc", "c_proj"],
        "fan_in_fan_out": True,
        "lora_dropout": 0.1,
        "task_type": "CAUSAL_LM",
    },
    "kernels": {"target_modules": [], "target_parameters": ["c_attn.weight", "c_fc.weight"]},
    "token embedding": {"target_modules": ["tokens_embed"], "task_type": "CAUSAL_LM"},
}


@pytest.mark.parametrize("settings", ADAPTERS.values(), ids=ADAPTERS)
def test_lora(tmp_path, settings):
    """An adapter learns, is saved and loaded, and changes nothing when it is merged."""
    model = peft.get_peft_model(OpenAIGPTLMHeadModel(CONFIG), lora(**settings))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 3e-2)
    found = []
    for _ in range(8):
        loss = model(input_ids=IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(loss.item())
    assert found[-1] < found[0] - 0.01
    model.eval()
    with torch.no_grad():
        logits, ids = model(input_ids=IDS).logits, model.generate(input_ids=IDS[:, :4], max_new_tokens=3)
    model.save_pretrained(tmp_path / "adapter")
    again = OpenAIGPTLMHeadModel(CONFIG)
    loaded = peft.PeftModel.from_pretrained(again, tmp_path / "adapter", config=lora(**settings)).eval()
    torch.testing.assert_close(loaded(input_ids=IDS).logits, logits, rtol=0, atol=1e-4)
    merged = model.merge_and_unload()
    torch.testing.assert_close(merged(IDS).logits, logits, rtol=0, atol=1e-4)
    assert torch.equal(merged.generate(IDS[:, :4], max_new_tokens=3), ids)
    merged.save_pretrained(tmp_path / "merged")
    again = OpenAIGPTLMHeadModel.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(again(IDS).logits, logits, rtol=0, atol=1e-4)


def test_a_script_of_accelerate(tmp_path):
    """The lines with which scripts of transformers save a model."""
    accelerator = transformers.trainer.Accelerator(cpu=True)
    model = accelerator.prepare(OpenAIGPTForSequenceClassification(CONFIG))
    accelerator.unwrap_model(model).save_pretrained(
        tmp_path,
        is_main_process=accelerator.is_main_process,
        save_function=accelerator.save,
        state_dict=accelerator.get_state_dict(model),
    )
    loaded = OpenAIGPTForSequenceClassification.from_pretrained(tmp_path, torch_dtype="auto", low_cpu_mem_usage=True)
    assert torch.equal(loaded.score.weight, model.score.weight)
