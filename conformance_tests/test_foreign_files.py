"""Files that the frameworks' own programs write are read, and they read ours."""

import flax.serialization
import jax
import numpy as np
import orbax.checkpoint
import pytest
import torch
from checkpoint_data import CONFIG, save, values
from flax import nnx

import gpt_flax
import gpt_tf
import gpt_torch
from gpt_flax.training import adamw
from gptcore.checkpoint import open_pretrained
from gptcore.checkpoint.folder import WRITABLE
from gptcore.spec.parameters import Head
from gptcore.spec.recipe import Recipe

HEADS = list(Head)
CLASSES = {
    Head.NONE: "OpenAIGPTModel",
    Head.LM: "OpenAIGPTLMHeadModel",
    Head.DOUBLE_HEADS: "OpenAIGPTDoubleHeadsModel",
    Head.SEQUENCE_CLASSIFICATION: "OpenAIGPTForSequenceClassification",
}

pytestmark = pytest.mark.parametrize("head", HEADS, ids=lambda head: head.value)


def same(path, head, dtype="float32"):
    """That a file holds the values of ``checkpoint_data``, bit for bit."""
    found = dict(open_pretrained(path, head, "auto", allow_pickle=True, n_head=5, num_labels=3).values())
    for name, array in values(head, dtype):
        assert found[name].tobytes() == np.ascontiguousarray(array).tobytes(), name


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_save(tmp_path, head, dtype, zipped):
    """Today's archive and the pickles of before 1.6; tensors that are views, transposed, or beside a mask buffer."""
    model = getattr(gpt_torch, CLASSES[head]).from_pretrained(save(tmp_path / "a", head, dtype), dtype=dtype)
    state = model.state_dict()
    name = next(name for name in state if name.endswith("c_attn.weight"))
    state[name] = state[name].T.contiguous().T
    state["h.0.attn.bias"] = torch.ones(1, 1, 7, 7, dtype=torch.uint8)
    torch.save(state, tmp_path / "weights.pt", _use_new_zipfile_serialization=zipped)
    same(tmp_path / "weights.pt", head, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_torch_load(tmp_path, head, dtype):
    state = torch.load(save(tmp_path, head, dtype, "pytorch") / "pytorch_model.bin", weights_only=True, mmap=True)
    model = getattr(gpt_torch, CLASSES[head])(CONFIG, dtype=dtype)
    model.load_state_dict(state, strict=True)
    model.save_pretrained(tmp_path / "b")
    same(tmp_path / "b", head, dtype)


def test_keras_weights(tmp_path, head):
    folder = save(tmp_path / "a", head, form="keras")
    model = getattr(gpt_tf, "TF" + CLASSES[head])(CONFIG)
    model.load_weights(folder / "model.weights.h5")
    model.save_pretrained(tmp_path / "b")
    same(tmp_path / "b", head)
    model.compile("adam")
    model.optimizer.build(model.trainable_variables)  # as in fit; Keras saves it, too
    model.save_weights(tmp_path / "c.weights.h5")
    same(tmp_path / "c.weights.h5", head)


def test_flax_serialization(tmp_path, head):
    """The pure dict of an NNX state, with integer keys as text, as ``msgpack_serialize`` wants them."""
    model = getattr(gpt_flax, "Flax" + CLASSES[head]).from_pretrained(save(tmp_path / "a", head))
    state = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    as_text = text_keys(state)
    (tmp_path / "weights.msgpack").write_bytes(flax.serialization.msgpack_serialize(as_text))
    same(tmp_path / "weights.msgpack", head)
    ours = save(tmp_path / "b", head, form="flax") / "flax_model.msgpack"
    theirs = flax.serialization.msgpack_restore(ours.read_bytes())
    jax.tree_util.tree_map(np.testing.assert_array_equal, theirs, as_text)


def text_keys(tree):
    return {str(key): text_keys(value) for key, value in tree.items()} if isinstance(tree, dict) else np.asarray(tree)


def flax_model(folder, head, dtype="float32"):
    return getattr(gpt_flax, "Flax" + CLASSES[head]).from_pretrained(save(folder, head, dtype), dtype=dtype)


@pytest.mark.parametrize(
    ("kind", "dtype"), [("pure", "float16"), ("state", "bfloat16"), ("loose", "bfloat16"), ("managed", "float32")]
)
def test_orbax_saves(tmp_path, head, kind, dtype):
    """A pure dict or a state, in one store or one for each array, alone or by a manager."""
    state = nnx.state(flax_model(tmp_path / "a", head, dtype), nnx.Param)
    state = state if kind == "state" else nnx.to_pure_dict(state)
    item = tmp_path / "item"
    if kind == "managed":
        with orbax.checkpoint.CheckpointManager(tmp_path / "b") as manager:
            manager.save(3, args=orbax.checkpoint.args.StandardSave(state))
        item = tmp_path / "b" / "3" / "default"
    elif kind == "loose":
        loosely = orbax.checkpoint.PyTreeCheckpointHandler(use_ocdbt=False)
        with orbax.checkpoint.Checkpointer(loosely) as checkpointer:
            checkpointer.save(item, state)
    else:
        with orbax.checkpoint.StandardCheckpointer() as checkpointer:
            checkpointer.save(item, state)
    same(item, head, dtype)


def test_orbax_saves_training(tmp_path, head):
    """The states of a model in training and of its optimizer, as ``examples/flax/run_clm.py`` saves them."""
    model = flax_model(tmp_path / "a", head)
    model.train()
    recipe = Recipe(learning_rate=1e-3, warmup_steps=1, batch_size=1, max_steps=2)
    state = nnx.state((model, nnx.Optimizer(model, adamw(model, recipe, recipe.max_steps), wrt=nnx.Param)))
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "b", state)
    same(tmp_path / "b", head)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_orbax_restores(tmp_path, head, dtype):
    """What we write is the state of the model, whether Orbax is told its shapes or not."""
    state = nnx.to_pure_dict(nnx.state(flax_model(tmp_path / "a", head, dtype), nnx.Param))
    item = save(tmp_path / "b", head, dtype, "orbax") / "orbax_checkpoint"
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        told, untold = checkpointer.restore(item, state), checkpointer.restore(item)
    jax.tree_util.tree_map(identical, told, state)
    jax.tree_util.tree_map(identical, untold, text_keys(state))


def identical(found, wanted):
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert np.asarray(found).tobytes() == np.asarray(wanted).tobytes()


@pytest.mark.parametrize("form", WRITABLE)
def test_every_backend_gives_the_same_logits_from_every_format(backend, tmp_path, head, form):
    if form == "openai" and head not in (Head.NONE, Head.LM):
        head = Head.NONE  # it holds the trunk alone
    ids = {"input_ids": np.array([[1, 30, 7, 4, 0]])}
    if head is Head.DOUBLE_HEADS:
        ids = {"input_ids": ids["input_ids"][None], "mc_token_ids": np.array([[4]])}
    logits = []
    for one in ("safetensors", form):
        model = backend.load(save(tmp_path / one, head, form=one), head, allow_pickle=True)
        logits.append(next(iter(model.forward(ids).values())))
    np.testing.assert_array_equal(*logits)
