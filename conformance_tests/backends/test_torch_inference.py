"""PyTorch's fast ways on a CPU: other kernels, other memory layouts, int8 weights; and where they end."""

import pytest
import torch
from generation_data import CONFIG, IDS, weights
from safetensors.torch import save_file
from torch.autograd import forward_ad
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import gpt_torch
from gpt_torch import projection
from gpt_torch.cache import KVCache
from gpt_torch.quantization import FEW_ROWS, Int8Weight
from gptcore import ConfigError, InputError
from gptcore.checkpoint import save_pretrained
from gptcore.spec.parameters import Head

PROMPT = torch.from_numpy(IDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_pretrained(folder, CONFIG, Head.LM, "float32", weights())
    return folder


@pytest.fixture
def model(folder):
    return gpt_torch.OpenAIGPTLMHeadModel.from_pretrained(folder)


def test_onednn_is_found_where_pytorch_has_it():
    assert (torch.float32 in projection.onednn()) == torch.backends.mkldnn.is_available()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 1, 48), (2, 7, 48), (48,)])
def test_onednn_computes_the_same_product(monkeypatch, shape, dtype):
    stream = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(s, generator=stream).to(dtype) for s in (shape, (31, 48), (31,)))
    exact = x.double() @ weight.double().T + bias.double()
    calls = []
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", counted(torch.ops.mkldnn._linear_pointwise, calls))
    for layout in (weight, weight.t().contiguous().t()):
        with torch.inference_mode():
            product = projection.linear(x, layout, bias)
        torch.testing.assert_close(product.double(), exact, rtol=2 * torch.finfo(dtype).eps, atol=1e-5)
    one_row = len(shape) == 1 or shape[:2] == (1, 1)
    by_parts = dtype is torch.float32 and one_row  # where the weight is stored by columns of (out, in)
    assert len(calls) == (2 - by_parts if dtype in projection.onednn() else 0)


@pytest.mark.parametrize("width", [48, 7, 1])
def test_the_product_of_one_row(width):
    stream = torch.Generator().manual_seed(0)
    x, kernel, bias = (torch.randn(s, generator=stream) for s in ((1, width), (width, 31), (31,)))
    for b in (bias, None):
        product = projection.product_of_one_row(x, kernel.t(), b)
        exact = x.double() @ kernel.double() + (0 if b is None else b.double())
        torch.testing.assert_close(product.double(), exact, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 3, 7), (5, 7), (7,)])
@pytest.mark.parametrize("stored", ["by rows", "by columns"])
def test_gradients_of_a_product(monkeypatch, shape, stored):
    """First and second ones, by oneDNN, are PyTorch's own; a parameter has a gradient of its own layout."""
    stream = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(s, generator=stream, requires_grad=True) for s in (shape, (5, 7), (5,)))
    if stored == "by columns":
        weight = torch.randn(7, 5, generator=stream, requires_grad=True)
    found = []
    calls = []
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", counted(torch.ops.mkldnn._linear_pointwise, calls))
    for product in (projection.linear, functional.linear):
        y = product(x, weight if stored == "by rows" else weight.t(), bias)
        first = torch.autograd.grad(y.pow(3).sum(), (x, weight, bias), create_graph=True)
        second = torch.autograd.grad(sum(gradient.pow(2).sum() for gradient in first), (x, weight, bias))
        found.append([*first, *second])
    for gradient, expected in zip(*found, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
    assert found[0][1].stride() == weight.stride()
    assert bool(calls) == (torch.float32 in projection.onednn())


@pytest.mark.parametrize(("asked", "products"), [("weight", 2), ("x", 2), ("bias", 1)])
def test_only_what_is_asked_for_is_computed(monkeypatch, asked, products):
    tensors = {"x": torch.randn(3, 7), "weight": torch.randn(5, 7), "bias": torch.randn(5)}
    tensors[asked].requires_grad_()
    calls = []
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", counted(torch.ops.mkldnn._linear_pointwise, calls))
    projection.linear(**tensors).sum().backward()
    assert tensors[asked].grad is not None
    assert len(calls) == (products if torch.float32 in projection.onednn() else 0)


def test_transforms_and_forward_mode_take_the_product_that_knows_them():
    x, weight = torch.randn(4, 7), torch.randn(5, 7)
    each = torch.func.vmap(
        torch.func.grad(lambda row, weight: projection.linear(row, weight).sum(), argnums=1), (0, None)
    )
    torch.testing.assert_close(each(x, weight), x[:, None].expand(4, 5, 7))
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        tangent = forward_ad.unpack_dual(projection.linear(dual, weight)).tangent
    torch.testing.assert_close(tangent, weight.sum(1).expand(4, 5))


@pytest.mark.parametrize("shape", [(2, 3, 7), (5, 7), (7,)])
def test_a_product_may_be_edited_in_place(shape):
    """Hooks set parts of an output to zero, masks of logits to minus infinity; the gradient follows."""
    gradients = []
    for product in (projection.linear, functional.linear):
        x = torch.linspace(-1, 1, torch.Size(shape).numel()).view(shape).requires_grad_()
        y = product(x, torch.linspace(0, 1, 35).view(5, 7), torch.ones(5))
        y[..., 0] = 0
        y.pow(2).sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients)


def test_logits_may_be_masked_in_place(model):
    logits = model(PROMPT).logits
    logits[..., 0] = -torch.inf
    logits.softmax(-1)[..., 1].sum().backward()
    assert model.transformer.h[0].mlp.c_fc.weight.grad.abs().sum() > 0


def test_flops_are_counted(model, monkeypatch):
    def count():
        with FlopCounterMode(display=False) as counter:
            model(PROMPT, labels=PROMPT).loss.backward()
        return counter.get_total_flops()

    ours = count()
    monkeypatch.setattr(projection, "by_onednn", lambda x, weight: False)
    assert ours == count() > 0


def test_a_traced_projection_serves_any_length():
    module = projection.Projection(7, 5).requires_grad_(False)
    for tensor in module.parameters():
        torch.nn.init.normal_(tensor)
    traced = torch.jit.trace(module, torch.randn(2, 3, 7))
    x = torch.randn(4, 6, 7)
    torch.testing.assert_close(traced(x), module(x))


def test_a_projection_shows_its_sizes(model):
    assert "c_fc): Projection(in_features=24, out_features=96)" in repr(model)


def test_generation_draws_no_dropout_and_keeps_each_mode(folder):
    model = gpt_torch.OpenAIGPTLMHeadModel.from_pretrained(folder, resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5)
    expected = model.generate(PROMPT, max_new_tokens=4, num_beams=2)
    model.train()
    model.transformer.h[0].eval()
    modes = [module.training for module in model.modules()]
    assert torch.equal(model.generate(PROMPT, max_new_tokens=4, num_beams=2), expected)
    assert [module.training for module in model.modules()] == modes
    with pytest.raises(InputError):
        model.generate(PROMPT, max_new_tokens=10**6)
    assert [module.training for module in model.modules()] == modes


def counted(function, calls):
    def wrapper(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return wrapper


def test_generation_leaves_weights_as_they_were(model, tmp_path):
    """Values, memory and strides: optimizers, shared memory and flat views rely on them."""
    model.share_memory()
    before = {name: (tensor.data_ptr(), tensor.stride(), tensor.clone()) for name, tensor in model.state_dict().items()}
    for rows in (1, 3):
        model.generate(PROMPT[:rows], max_new_tokens=2)
    for name, tensor in model.state_dict().items():
        pointer, stride, values = before[name]
        assert (tensor.data_ptr(), tensor.stride()) == (pointer, stride), name
        assert torch.equal(tensor, values), name
    assert all(parameter.is_shared() and parameter.is_contiguous() for parameter in model.parameters())
    torch.nn.utils.parameters_to_vector(model.parameters())
    save_file(model.state_dict(), tmp_path / "model.safetensors")


def test_sampling_inside_training_changes_nothing(folder):
    """A fused optimizer reads weights and moments in the order of memory."""

    def trained(sample):
        model = gpt_torch.OpenAIGPTLMHeadModel.from_pretrained(folder)
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)
        for _ in range(3):
            model(PROMPT, labels=PROMPT).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if sample:
                model.generate(PROMPT[:1], max_new_tokens=2)
        return [*model.parameters(), *(moment for state in optimizer.state.values() for moment in state.values())]

    assert all(map(torch.equal, trained(sample=False), trained(sample=True)))


def test_cached_steps_compile_once_for_all_lengths(model):
    programs = []

    def count(graph, example_inputs):
        programs.append(graph)
        return graph.forward

    step = torch.compile(lambda ids, cache: model(ids, past_key_values=cache).to_tuple(), backend=count, fullgraph=True)
    plain, cache = KVCache.empty(CONFIG, 3, 20), KVCache.empty(CONFIG, 3, 20)
    with torch.inference_mode():
        for column in range(7):
            ids = PROMPT[:, column : column + 1]
            expected = model(ids, past_key_values=plain)
            logits, cache = step(ids, cache)
            torch.testing.assert_close(logits, expected.logits, rtol=0, atol=2e-5)
            plain = expected.past_key_values
    assert len(programs) <= 3  # an empty cache, one length, any length


def test_int8_weights_are_within_half_a_step(model):
    weight = model.transformer.h[0].mlp.c_fc.weight.detach().t()
    quantized = Int8Weight(weight)
    restored = quantized.weight.float() * quantized.scale[:, None]
    assert ((restored - weight).abs() <= quantized.scale[:, None] * 0.5001).all()
    assert (quantized.weight.abs().amax(-1) == 127).all()
    assert quantized.weight.element_size() == 1
    assert torch.equal(Int8Weight(torch.zeros(2, 3)).product(torch.ones(1, 3)), torch.zeros(1, 2))


@pytest.mark.parametrize("width", [5, 24, 64, 192])
@pytest.mark.parametrize("rows", [1, FEW_ROWS, FEW_ROWS + 1])
def test_int8_products(rows, width):
    stream = torch.Generator().manual_seed(0)
    x, weight = torch.randn(rows, width, generator=stream), torch.randn(31, width, generator=stream)
    quantized = Int8Weight(weight)
    exact = functional.linear(x.bfloat16().double(), quantized.weight.double() * quantized.scale.double()[:, None])
    # Exact products, added up in float32, rounded to bfloat16 once, at most 2**-9 of the sum.
    torch.testing.assert_close(quantized.product(x).double(), exact, rtol=2**-8, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("width", [24, 128])  # without and with the int8 kernel
def test_a_quantized_model(tmp_path, width, dtype):
    config = CONFIG.replace(n_embd=width, n_head=2)
    save_pretrained(tmp_path, config, Head.LM, "float32", weights(config=config))
    model = gpt_torch.OpenAIGPTLMHeadModel.from_pretrained(tmp_path)
    quantized = gpt_torch.OpenAIGPTLMHeadModel.from_pretrained(tmp_path, quantization="int8", dtype=dtype)
    assert quantized.num_parameters() == model.num_parameters()
    assert (quantized.num_parameters(only_trainable=True), quantized.dtype) == (0, getattr(torch, dtype))
    with torch.inference_mode():
        expected, logits = model(PROMPT).logits, quantized(PROMPT).logits.float()
    assert (logits - expected).std() < 0.05 * expected.std()
    output = quantized.generate(PROMPT, max_new_tokens=5, output_scores=True, return_dict_in_generate=True)
    with torch.inference_mode():
        uncached = quantized(output.sequences).logits[:, 6:-1].float()
    assert (torch.stack(output.scores, 1) - uncached).std() < 0.05 * expected.std()


@pytest.mark.parametrize(
    ("use", "what"),
    [
        (lambda model, folder: model.save_pretrained(folder), "saved"),
        (lambda model, folder: model.resize_token_embeddings(60), "resized"),
        (lambda model, folder: model.train(), "trained"),
    ],
)
def test_what_a_quantized_model_cannot_do(folder, tmp_path, use, what):
    model = gpt_torch.OpenAIGPTLMHeadModel.from_pretrained(folder, quantization="int8")
    with pytest.raises(InputError, match=f"cannot be {what}. Load it without quantization"):
        use(model, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_unknown_quantization(folder):
    with pytest.raises(ConfigError, match="quantization must be None or 'int8'; got 'int4'"):
        gpt_torch.OpenAIGPTLMHeadModel.from_pretrained(folder, quantization="int4")
