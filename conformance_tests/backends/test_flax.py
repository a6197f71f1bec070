"""What JAX users expect of a module, beyond the numbers."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint
import pytest
from flax import nnx
from jax import export
from trained_scale import trained_scale

import gpt_flax
from gpt_flax.generation import loop, run
from gpt_flax.heads import cross_entropy
from gpt_flax.training import Trainer, adamw
from gpt_flax.weights import assign, parameters_of, transform_of
from gptcore import CheckpointError, ConfigError, InputError, OpenAIGPTConfig
from gptcore.spec.parameters import Head, initial_value, parameters
from gptcore.spec.recipe import Recipe

CONFIG = OpenAIGPTConfig(vocab_size=41, n_positions=13, n_embd=14, n_head=2, n_layer=1, num_labels=3)
IDS = np.arange(10).reshape(2, 5)
MODELS = {
    gpt_flax.FlaxOpenAIGPTModel: {},
    gpt_flax.FlaxOpenAIGPTLMHeadModel: {"labels": IDS},
    gpt_flax.FlaxOpenAIGPTDoubleHeadsModel: {"labels": IDS, "mc_labels": np.array(1)},
    gpt_flax.FlaxOpenAIGPTForSequenceClassification: {"labels": np.array([2, 0])},
}


def build(model_class, config=CONFIG):
    model = model_class(config, seed=None)
    assign(model, trained_scale(config, model.head))
    model.eval()
    return model


@pytest.fixture(params=MODELS, ids=lambda model_class: model_class.__name__)
def model(request):
    return build(request.param)


def weights(model):
    return nnx.state(model, nnx.Param)


def largest_difference(a, b):
    return max(float(jnp.abs(x - y).max()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_transformations_change_nothing(model):
    inputs = {"input_ids": IDS, **MODELS[type(model)]}
    plain = model(**inputs)
    graph, state = nnx.split(model)
    under_nnx = nnx.jit(lambda model: model(**inputs))(model)
    under_jax = jax.jit(lambda state: nnx.merge(graph, state)(**inputs))(state)
    for output in (under_nnx, under_jax):
        assert type(output) is type(plain)
        assert list(output) == list(plain)
        assert largest_difference(output, plain) < 1e-5


def test_vmap(model):
    rows = jax.vmap(lambda row: model(row[None])[0][0])(jnp.asarray(IDS))
    assert largest_difference(rows, model(IDS)[0]) < 1e-5


@pytest.mark.parametrize("options", [{}, {"output_attentions": True, "return_dict": False}], ids=str)
def test_tabulate(model, options):
    """Flax replaces the methods of the classes meanwhile, and leaves them so if one raises."""
    before = model(IDS)
    options = {**MODELS[type(model)], **options}
    table = nnx.tabulate(model, IDS, **options, console_kwargs={"width": 200, "force_terminal": False})
    for row in ("h/0/attn/c_attn", "h/0/mlp/c_fc", "Total", "[2,5]", "embedding:"):
        assert row in table
    assert largest_difference(model(IDS), before) == 0


def test_gradients_under_nnx_grad():
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    gradients = nnx.grad(lambda model: model(IDS, labels=IDS).loss)(model)
    assert jax.tree.structure(gradients) == jax.tree.structure(nnx.state(model, nnx.Param))
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize(
    ("options", "seed"),
    [
        ({}, 0),
        ({"rngs": nnx.Rngs(7), "seed": 0}, 0),
        ({"rngs": nnx.Rngs(7), "seed": 3}, 3),
        ({"rngs": nnx.Rngs(dropout=7)}, 0),
        ({"rngs": nnx.Rngs(params=7), "seed": 0}, 0),
    ],
    ids=str,
)
def test_a_seed_gives_the_weights_of_every_framework(options, seed):
    model_class = gpt_flax.FlaxOpenAIGPTForSequenceClassification
    found = parameters_of(model_class(CONFIG, **options))
    for name, parameter in parameters(CONFIG, model_class.head).items():
        expected = transform_of(parameter)(initial_value(parameter, CONFIG, seed))
        np.testing.assert_array_equal(found[name].get_value(), expected)


@pytest.mark.parametrize("stream", ["default", "params"])
def test_rngs_seed_the_weights(stream):
    def member(seed):
        return weights(gpt_flax.FlaxOpenAIGPTModel(CONFIG, rngs=nnx.Rngs(**{stream: seed})))

    assert largest_difference(member(0), member(0)) == 0
    assert largest_difference(member(0), member(1)) > 0.01


@pytest.mark.parametrize("rngs", [0, jax.random.key(0)], ids=["int", "key"])
def test_rngs_of_another_type(rngs):
    with pytest.raises(InputError, match=r"rngs must be nnx.Rngs; got .* Pass nnx.Rngs\("):
        gpt_flax.FlaxOpenAIGPTModel(CONFIG, rngs=rngs)
    with pytest.raises(InputError, match=r"rngs must be nnx.Rngs; got .* Pass nnx.Rngs\("):
        gpt_flax.FlaxOpenAIGPTModel.from_pretrained("nowhere", rngs=rngs)


def test_an_ensemble_by_vmap():
    @nnx.split_rngs(splits=3)
    @nnx.vmap
    def create(rngs):
        return gpt_flax.FlaxOpenAIGPTModel(CONFIG, rngs=rngs)

    kernels = np.asarray(create(nnx.Rngs(0)).h[0].mlp.c_fc.kernel.get_value())
    assert kernels.shape == (3, 14, 56)
    assert len(np.unique(kernels)) == kernels.size


@pytest.mark.parametrize("seed", [0, 3])
def test_the_seed_of_a_head_that_the_checkpoint_lacks(tmp_path, seed):
    build(gpt_flax.FlaxOpenAIGPTLMHeadModel).save_pretrained(tmp_path)
    model_class = gpt_flax.FlaxOpenAIGPTForSequenceClassification
    model = model_class.from_pretrained(tmp_path, seed=seed)
    fresh = model_class(CONFIG, seed=seed)
    assert largest_difference(weights(model.score), weights(fresh.score)) == 0
    assert largest_difference(weights(model.transformer), weights(build(type(model.transformer)))) == 0
    streams = [model, fresh, model_class.from_pretrained(tmp_path, rngs=nnx.Rngs(dropout=seed))]
    first, *others = ([jax.random.key_data(key) for key in jax.tree.leaves(nnx.state(m, nnx.RngKey))] for m in streams)
    assert all(np.array_equal(first, keys) for keys in others)


@pytest.mark.parametrize("options", [{"seed": 3, "dtype": "bfloat16"}, {"rngs": True}, {"seed": None}], ids=str)
def test_creation_inside_a_program(options):
    def create():
        rngs = {"rngs": nnx.Rngs(5)} if "rngs" in options else {}
        return gpt_flax.FlaxOpenAIGPTForSequenceClassification(CONFIG, **{**options, **rngs})

    expected = create()
    assert largest_difference(weights(nnx.jit(create)()), weights(expected)) == 0
    abstract = nnx.state(nnx.eval_shape(create))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), abstract) == jax.tree.map(
        lambda x: (x.shape, x.dtype), nnx.state(expected)
    )


def test_loading_inside_a_program(tmp_path):
    model_class = gpt_flax.FlaxOpenAIGPTForSequenceClassification
    build(model_class).save_pretrained(tmp_path)
    loaded = nnx.jit(lambda: model_class.from_pretrained(tmp_path))()
    assert largest_difference(weights(loaded), weights(build(model_class))) == 0
    assert nnx.eval_shape(lambda: model_class.from_pretrained(tmp_path)).score.kernel.get_value().shape == (14, 3)


def test_orbax_restores_onto_an_abstract_model(tmp_path):
    """With its random streams, as a loop of Orbax goes on."""
    model = build(gpt_flax.FlaxOpenAIGPTModel)
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", nnx.state(model))
        checkpointer.wait_until_finished()
        graph, abstract = nnx.split(nnx.eval_shape(lambda: gpt_flax.FlaxOpenAIGPTModel(CONFIG, rngs=nnx.Rngs(3))))
        again = nnx.merge(graph, checkpointer.restore(tmp_path / "state", abstract))
    model.train()
    run = nnx.jit(lambda model: model(IDS)[0])
    assert largest_difference(run(again), run(model)) == 0


def test_parameters_without_a_place_in_the_files_are_not_dropped(tmp_path):
    model = build(gpt_flax.FlaxOpenAIGPTForSequenceClassification)
    model.score = nnx.Linear(14, 3, rngs=nnx.Rngs(0))
    with pytest.raises(CheckpointError, match=r"(?s)no place for these parameters.*\n  - score.bias"):
        model.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_export(model):
    """With lengths and batches that are not known yet; what comes back is of the same type, a cache in it too."""
    cached = type(model) is gpt_flax.FlaxOpenAIGPTLMHeadModel
    options, constraints = ({"use_cache": True}, ["length <= 13"]) if cached else ({}, [])  # slots are not symbolic
    batch, length = export.symbolic_shape("batch, length", constraints=constraints)
    program = jax.jit(lambda ids, mask: model(ids, mask, output_hidden_states=True, **options))
    ids = jax.ShapeDtypeStruct((batch, length), jnp.int32)
    loaded = export.deserialize(export.export(program)(ids, ids).serialize())
    mask = np.array([[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]], np.int32)
    found, expected = loaded.call(IDS.astype(np.int32), mask), model(IDS, mask, output_hidden_states=True, **options)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    assert largest_difference((found[0], found.hidden_states), (expected[0], expected.hidden_states)) < 1e-5


def test_export_of_a_step_with_a_cache():
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    cache = model(IDS, use_cache=True).past_key_values
    ids = np.array([[1], [2]], np.int32)
    program = jax.jit(lambda ids, cache: model(ids, past_key_values=cache))
    loaded = export.deserialize(export.export(program)(ids, cache).serialize())
    assert largest_difference(loaded.call(ids, cache), model(ids, past_key_values=cache)) < 1e-5


def test_export_of_generation():
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    ids = jax.ShapeDtypeStruct(export.symbolic_shape("batch, 5"), jnp.int32)
    settings = {"max_new_tokens": 3, "do_sample": True, "top_k": 20, "top_p": 0.9, "min_p": 0.01}
    exported = export.export(jax.jit(lambda ids: model.generate(ids, **settings)))(ids)
    np.testing.assert_array_equal(exported.call(IDS.astype(np.int32)), model.generate(IDS, **settings))


def test_no_rank_is_promoted(model):
    model.train()
    options = {"attention_mask": np.ones_like(IDS), "head_mask": np.ones(2), "output_attentions": True}
    with jax.numpy_rank_promotion("raise"):
        model(IDS, **MODELS[type(model)])
        model(IDS, **MODELS[type(model)], **options)
        if model.head is Head.LM:
            model.generate(IDS, max_new_tokens=2, do_sample=True, top_k=5, top_p=0.9, min_p=0.1, eos_token_id=3)


def test_on_a_mesh_with_explicit_axes():
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    graph, state = nnx.split(model)
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    rows = jax.sharding.PartitionSpec("data")
    with jax.set_mesh(mesh):
        ids = jax.device_put(IDS, jax.sharding.NamedSharding(mesh, rows))
        run = jax.sharding.auto_axes(lambda state, ids: nnx.merge(graph, state)(ids).logits, out_sharding=rows)
        logits = jax.jit(run)(state, ids)
    assert largest_difference(np.asarray(logits), np.asarray(model(IDS).logits)) < 1e-5


def test_as_a_module_of_linen():
    module = nnx.bridge.to_linen(gpt_flax.FlaxOpenAIGPTLMHeadModel, CONFIG.replace(attn_pdrop=0, embd_pdrop=0))
    first, second = (module.init(jax.random.key(seed), IDS) for seed in (0, 1))
    assert largest_difference(first["params"], second["params"]) > 0.01
    outputs = [module.apply(first, IDS, rngs={"dropout": jax.random.key(seed)}).logits for seed in (0, 1)]
    assert largest_difference(*outputs) > 0


@pytest.mark.parametrize("tree", ["jax.tree.map", "jax.device_put", "nnx.jit"])
def test_outputs_are_trees(model, tree):
    output = model(IDS, **MODELS[type(model)], output_hidden_states=True)
    through = {
        "jax.tree.map": lambda: jax.tree.map(lambda x: x + 0, output),
        "jax.device_put": lambda: jax.device_put(output, jax.devices()[0]),
        "nnx.jit": lambda: nnx.jit(lambda output: output)(output),
    }[tree]()
    assert type(through) is type(output)
    assert list(through) == list(output)
    assert largest_difference(through, output) == 0


@pytest.mark.parametrize(("afn", "summary"), [("gelu", None), ("relu", "relu"), ("silu", "tanh"), ("gelu", "gelu_new")])
def test_pickling(afn, summary):
    """A copy is equal, so that a program compiled for the model runs it too."""
    model = build(gpt_flax.FlaxOpenAIGPTDoubleHeadsModel, CONFIG.replace(afn=afn, summary_activation=summary))
    for copied in (pickle.loads(pickle.dumps(model)), nnx.merge(*pickle.loads(pickle.dumps(nnx.split(model))))):
        assert nnx.graphdef(copied) == nnx.graphdef(model)
        assert largest_difference(weights(copied), weights(model)) == 0
    assert nnx.graphdef(copy.deepcopy(model)) == nnx.graphdef(model)


def test_weights_that_no_checkpoint_holds_are_an_error(tmp_path):
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    mlp, rngs = model.transformer.h[0].mlp, nnx.Rngs(0)
    kernel, bias = mlp.c_fc.kernel, mlp.c_fc.bias
    mlp.c_fc = nnx.LoRALinear(14, 56, lora_rank=2, rngs=rngs)
    mlp.c_fc.kernel, mlp.c_fc.bias = kernel, bias
    model.probe = nnx.Linear(14, 2, use_bias=False, rngs=rngs)
    model.same = model.transformer.tokens_embed  # has a place
    names = ("probe.kernel", *(f"transformer.h.0.mlp.c_fc.lora.lora_{letter}" for letter in "ab"))
    with pytest.raises(CheckpointError, match="no place for these parameters") as caught:
        model.save_pretrained(tmp_path)
    assert str(caught.value).endswith("\n".join(["", *(f"  - {name}" for name in names)]))
    assert not list(tmp_path.iterdir())


def test_weights_that_others_replaced_are_not_saved(tmp_path):
    model = build(gpt_flax.FlaxOpenAIGPTModel, CONFIG.replace(n_layer=2))
    model.h[0].mlp.c_fc = nnx.LoRA(14, 2, 56, base_module=model.h[0].mlp.c_fc, rngs=nnx.Rngs(0))
    model.h = model.h[:1]
    with pytest.raises(
        CheckpointError, match=r"some are missing. Put back .*\n  - h.0.mlp.c_fc.weight\n(.*\n)+  - h.1."
    ):
        model.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int8", "int16", "int64"])
def test_labels_of_every_integer_type(dtype):
    """-100 read as an unsigned number may be a label."""
    like_ignored = int(np.array(-100).astype(dtype))
    label = like_ignored if 0 <= like_ignored < 2**16 else 3
    logits = np.zeros((2, label + 2), np.float32)
    logits[0, label], logits[1, 0] = 2, 5
    labels = jnp.asarray(np.array([label, 1]).astype(dtype))
    expected = cross_entropy(logits, np.array([label, 1]))
    assert largest_difference(cross_entropy(logits, labels), expected) == 0
    assert largest_difference(jax.jit(cross_entropy)(logits, labels), expected) < 1e-6


def test_padding_that_an_unsigned_type_cannot_hold():
    config = CONFIG.replace(vocab_size=400, pad_token_id=300)
    model = gpt_flax.FlaxOpenAIGPTForSequenceClassification(config, seed=None)
    assert model.last_position(jnp.array([[1, 2, 300 - 256]], jnp.uint8), None) == 2


def test_lists_are_taken(model):
    assert largest_difference(model(IDS.tolist()), model(IDS)) == 0


def test_dropout_only_in_training(model):
    assert largest_difference(model(IDS), model(IDS)) == 0
    model.train()
    assert largest_difference(model(IDS)[0], model(IDS)[0]) > 0


def test_each_dropout_is_where_the_paper_has_it():
    for name in ("embd_pdrop", "attn_pdrop", "resid_pdrop"):
        off = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
        model = build(gpt_flax.FlaxOpenAIGPTModel, CONFIG.replace(**{**off, name: 0.5}))
        model.train()
        output = model(IDS, output_hidden_states=True)
        zeros = (output.hidden_states[0] == 0).mean()
        assert (zeros > 0.3) == (name == "embd_pdrop")
        assert jnp.abs(model(IDS).last_hidden_state - model(IDS).last_hidden_state).max() > 0


def test_attention_dropout_stays_on_above_a_layer_in_evaluation_mode():
    off = {"embd_pdrop": 0.0, "attn_pdrop": 0.5, "resid_pdrop": 0.0}
    model = build(gpt_flax.FlaxOpenAIGPTModel, CONFIG.replace(n_layer=2, **off))
    model.train()
    model.h[0].eval()
    assert jnp.abs(model(IDS).last_hidden_state - model(IDS).last_hidden_state).max() > 0


def test_parameters_carry_logical_axes():
    model = build(gpt_flax.FlaxOpenAIGPTModel)
    assert model.tokens_embed.embedding.get_metadata("out_sharding") == ("vocab", "embed")
    assert model.h[0].mlp.c_fc.kernel.get_metadata("out_sharding") == ("embed", "mlp")


def test_resizing(model):
    before = model(IDS, output_hidden_states=True).hidden_states[-1]
    table = model.resize_token_embeddings(47)
    assert table is model.get_input_embeddings()
    assert (model.config.vocab_size, CONFIG.vocab_size) == (47, 41)
    assert largest_difference(model(IDS, output_hidden_states=True).hidden_states[-1], before) == 0
    assert table(jnp.array([46])).shape == (1, 14)
    with pytest.raises(ConfigError, match="vocab_size=0"):
        model.resize_token_embeddings(0)


def test_adapters_are_not_dropped(tmp_path):
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    attn = model.transformer.h[0].attn
    attn.c_attn = nnx.LoRA(14, 2, 42, base_module=attn.c_attn, rngs=nnx.Rngs(0))
    with pytest.raises(CheckpointError, match=r"some are missing. .* merge and unload .*\n  - h.0.attn.c_attn.weight"):
        model.save_pretrained(tmp_path)


def test_float64_says_how_to_enable_it():
    with pytest.raises(ConfigError, match="jax_enable_x64"):
        gpt_flax.FlaxOpenAIGPTModel(CONFIG, dtype="float64")


def test_generation_compiles_once_a_bucket_and_follows_a_resize():
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    for program, settings, programs in ((loop, {}, 1), (run, {"num_beams": 2}, 2)):  # the latter for prompt and step
        program.clear_cache()
        for length, seed in ((2, 0), (3, 1), (5, 2)):
            model.generate(IDS[:, :length], max_new_tokens=length + 1, seed=seed, **settings)
        assert program._cache_size() == programs
    model.resize_token_embeddings(10)
    ids = np.asarray(model.generate(IDS, max_new_tokens=4))
    assert ids.max() < 10
    np.testing.assert_array_equal(ids[:, 5], model(IDS).logits[:, -1].argmax(-1))


@pytest.mark.parametrize("settings", [{}, {"do_sample": True, "top_k": 5, "num_return_sequences": 2}, {"seed": 3}])
def test_generation_inside_a_program_of_the_user(settings):
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    mask = np.array([[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
    eos = int(model.generate(IDS, max_new_tokens=4)[0, 6])
    prompt = np.where(mask, IDS, 1)
    mask = None if settings else mask  # by the padding
    settings = {"max_new_tokens": 4, "eos_token_id": eos, "pad_token_id": 1, **settings}
    seed = settings.pop("seed", 2)

    @jax.jit
    def doubled(ids, mask, seed):
        return model.generate(ids, mask, **settings, seed=seed) * 2

    ids = np.asarray(doubled(prompt, mask, seed)) // 2
    assert ids.shape == (2 * settings.get("num_return_sequences", 1), 9)
    outside = np.asarray(model.generate(prompt, mask, **settings, seed=seed))
    np.testing.assert_array_equal(ids[:, : outside.shape[1]], outside)
    assert (ids[:, outside.shape[1] :] == 1).all()


@pytest.mark.parametrize("settings", [{"num_beams": 2}, {"return_dict_in_generate": True}, {"stop_strings": "."}])
def test_what_needs_the_host_is_an_error_inside_a_program(settings):
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    with pytest.raises(InputError, match=f"inside jax.jit.*{next(iter(settings))} need the host"):
        jax.jit(lambda ids: model.generate(ids, **settings))(IDS)


def test_generation_inside_a_program_that_takes_the_model():
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    ids = nnx.jit(lambda model: model.generate(IDS, max_new_tokens=3))(model)
    np.testing.assert_array_equal(ids, model.generate(IDS, max_new_tokens=3))
    with pytest.raises(InputError, match=r"shape \(batch, sequence\) inside jax.jit; got \(5,\)"):
        jax.jit(lambda ids: model.generate(ids, max_new_tokens=3))(IDS[0])
    for traced, known, advice in [
        ({"input_ids": IDS, "attention_mask": np.ones((2, 6))}, {}, r"shape \(2, 5\); got \(2, 6\)"),
        ({"input_ids": IDS}, {"streamer": print}, "streamer need the host"),
        (
            {"temperature": 0.5},
            {"input_ids": IDS},
            "temperature must be known inside jax.jit.* only seed may be traced",
        ),
    ]:
        with pytest.raises(InputError, match=advice):
            jax.jit(lambda traced, known=known: model.generate(max_new_tokens=3, **traced, **known))(traced)


@pytest.mark.parametrize("settings", [{}, {"do_sample": True}, {"num_beams": 2}], ids=str)
def test_generation_draws_no_dropout_and_keeps_the_mode(settings):
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel, CONFIG.replace(resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5))
    expected = model.generate(IDS, max_new_tokens=4, **settings)
    model.train()
    counts = nnx.state(model, nnx.RngCount)
    np.testing.assert_array_equal(model.generate(IDS, max_new_tokens=4, **settings), expected)
    if "num_beams" not in settings:
        inside = nnx.jit(lambda model: model.generate(IDS, max_new_tokens=4, **settings))(model)
        np.testing.assert_array_equal(inside, expected)
    assert not model.transformer.drop.deterministic
    assert largest_difference(counts, nnx.state(model, nnx.RngCount)) == 0


def test_one_program_for_all_steps_of_training():
    """Also after going on from a checkpoint: where arrays are committed differently, JAX compiles once more."""
    trainer = Trainer(build(gpt_flax.FlaxOpenAIGPTLMHeadModel), Recipe(), 6)
    for step in range(3):
        trainer.step(step, {"input_ids": IDS, "labels": IDS})
    trainer.restore(3, list(trainer.weights()), list(trainer.moments()))
    trainer.step(3, {"input_ids": IDS, "labels": IDS})
    assert trainer.update._cache_size() == 1


@pytest.mark.parametrize("micro_batch_size", [None, 1])
def test_weights_moments_and_gradients_stay_where_they_are(micro_batch_size):
    """A step takes no new memory for them, which the system would have to clear."""
    recipe = Recipe(micro_batch_size=micro_batch_size)
    trainer = Trainer(build(gpt_flax.FlaxOpenAIGPTLMHeadModel), recipe, 3)

    def addresses():
        kept = trainer.params, trainer.optimizer_state, trainer.gradients
        return [array.unsafe_buffer_pointer() for array in jax.tree.leaves(kept)]

    before = addresses()
    for step in range(3):
        trainer.step(step, {"input_ids": IDS, "labels": IDS})
        assert addresses() == before


def test_the_optimizer_in_a_loop_of_your_own():
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel, CONFIG.replace(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))
    recipe = Recipe(warmup_steps=0, learning_rate=0.01)
    expected = [Trainer(nnx.clone(model), recipe, 3).step(0, {"input_ids": IDS, "labels": IDS})["loss"]]
    optimizer = nnx.Optimizer(model, adamw(model, recipe, 3), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        loss, gradients = nnx.value_and_grad(lambda model: model(IDS, labels=IDS).loss)(model)
        optimizer.update(model, gradients)
        return loss

    model.train()
    losses = [float(step(model, optimizer)) for _ in range(3)]
    assert losses[0] == pytest.approx(expected[0], rel=1e-6)
    assert losses[2] < losses[1] < losses[0]


class Frozen(nnx.Variable):
    """Weights that a filter for ``nnx.Param`` leaves alone."""


def with_adapter(model):
    model.transformer.h[0].mlp.c_fc.lora_a = nnx.LoRAParam(jnp.ones((14, 2)))
    return model


def with_frozen_tokens(model):
    table = model.get_input_embeddings()
    table.embedding = Frozen(table.embedding.get_value())
    return model


@pytest.mark.parametrize(
    ("prepare", "selected"),
    [
        (with_adapter, nnx.LoRAParam),
        (with_adapter, nnx.Param),
        (with_frozen_tokens, nnx.Param),
        (nnx.clone, nnx.All(nnx.Param, nnx.PathContains("mlp"))),
    ],
)
def test_the_optimizer_of_some_parameters(prepare, selected):
    """Those change by gradient and decay as all would, and the others not at all; ``lora_a`` is used nowhere."""
    model = prepare(build(gpt_flax.FlaxOpenAIGPTLMHeadModel, CONFIG.replace(n_layer=1)))
    recipe = Recipe(warmup_steps=0, learning_rate=0.01, max_grad_norm=None)
    kept = nnx.Not(nnx.RngState)
    before = {path: value.get_value() for path, value in nnx.to_flat_state(nnx.state(model, kept))}
    chosen = {path for path, _ in nnx.to_flat_state(nnx.state(model, selected))}
    optimizer = nnx.Optimizer(model, adamw(model, recipe, 3), wrt=selected)
    zeros = jax.tree.map(jnp.zeros_like, nnx.state(model, selected))
    optimizer.update(model, zeros)
    for path, value in nnx.to_flat_state(nnx.state(model, kept)):
        decays = path in chosen and value.ndim > 1
        expected = before[path] * (1 - recipe.weight_decay * recipe.learning_rates(3)[0] * decays)
        assert largest_difference(value.get_value(), expected) < 1e-6, path


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_beside_frozen_weights(precision):
    model = with_frozen_tokens(build(gpt_flax.FlaxOpenAIGPTLMHeadModel, CONFIG.replace(n_layer=1)))
    model.eval()
    trainer, batch = Trainer(model, Recipe(warmup_steps=0, precision=precision), 3), {"input_ids": IDS, "labels": IDS}
    before = dict(trainer.weights())
    loss = trainer.step(0, batch)["loss"]
    changed = {name for name, value in trainer.weights() if (value != before[name]).any()}
    assert changed == before.keys() - {"tokens_embed.weight"}
    moments = dict(trainer.moments())
    assert not moments["exp_avg.tokens_embed.weight"].any()
    before["tokens_embed.weight"] = before["tokens_embed.weight"] * 2
    trainer.restore(0, before.items(), moments.items())
    assert (dict(trainer.weights())["tokens_embed.weight"] == before["tokens_embed.weight"]).all()
    assert abs(trainer.step(0, batch)["loss"] - loss) > 0.01
    assert model.transformer.drop.deterministic


def test_a_parameter_that_no_checkpoint_holds_is_not_trained(tmp_path):
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    count = model.num_parameters()
    model = with_adapter(model)
    assert model.num_parameters(only_trainable=True) == count + 14 * 2
    with pytest.raises(ConfigError, match=r"cannot train transformer.h.0.mlp.c_fc.lora_a: .*adamw"):
        Trainer(model, Recipe(), 3)
    with pytest.raises(CheckpointError, match=r"(?s)cannot save .* no place for .*transformer.h.0.mlp.c_fc.lora_a"):
        model.save_pretrained(tmp_path)
    model.transformer.h[0].mlp.c_fc = nnx.Sequential(model.transformer.h[0].mlp.c_fc)
    with pytest.raises(CheckpointError, match=r"(?s)some are missing.*h.0.mlp.c_fc.weight"):
        model.save_pretrained(tmp_path)
    assert model.num_parameters() == count + 14 * 2


def test_weights_that_were_cast_are_saved_as_they_are(tmp_path):
    """``dtype`` of the model stays float32, the dtype that its modules compute in."""
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    for name, parameter in parameters_of(model).items():
        if "mlp" in name:
            parameter.set_value(jnp.asarray(np.asarray(parameter.get_value()).astype(jnp.bfloat16)))
    with pytest.raises(ConfigError, match="weights must be float32 for training; got bfloat16"):
        Trainer(model, Recipe(), 3)
    model.save_pretrained(tmp_path)
    again = parameters_of(type(model).from_pretrained(tmp_path))
    for name, parameter in parameters_of(model).items():
        assert (np.asarray(parameter.get_value()) == np.asarray(again[name].get_value())).all(), name
