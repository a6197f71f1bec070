"""Our PyTorch models as ONNX files and in OpenVINO, at lengths that they were not exported with; opt-in."""

import onnxruntime
import openvino
import pytest
import torch

pytestmark = pytest.mark.filterwarnings("default")  # other libraries deprecate in their own time

IDS = torch.arange(36).view(3, 12) % 61
SHAPES = [(3, 12), (2, 5), (1, 16), (5, 1)]
SIZES = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=16)}


def inputs_of(shape):
    """Ids, and a mask with padding on both sides."""
    ids = torch.arange(shape[0] * shape[1]).view(shape) % 61
    mask = torch.ones_like(ids)
    mask[0, -(shape[1] // 3) :] = mask[-1, : shape[1] // 3] = 0
    mask[0, 0] = mask[-1, -1] = 1
    return ids, mask


def to_onnx(model, path, *inputs):
    names = ("input_ids", "attention_mask")[: len(inputs)]
    options = {"input_names": names, "output_names": ["logits"], "dynamic_shapes": [SIZES] * len(inputs)}
    torch.onnx.export(model, inputs, path, dynamo=True, verbose=False, **options)
    return path


@pytest.mark.parametrize("masked", [False, True], ids=["ids", "ids and mask"])
def test_onnx_runtime(model, tmp_path, masked):
    inputs = inputs_of((3, 12))[: 1 + masked]
    session = onnxruntime.InferenceSession(to_onnx(model, tmp_path / "model.onnx", *inputs))
    for shape in SHAPES:
        inputs = dict(zip(("input_ids", "attention_mask")[: 1 + masked], inputs_of(shape), strict=False))
        (logits,) = session.run(["logits"], {name: tensor.numpy() for name, tensor in inputs.items()})
        torch.testing.assert_close(torch.from_numpy(logits), model(**inputs).logits, rtol=0, atol=1e-4)


SOURCES = {
    "torch": lambda model, folder: openvino.convert_model(model, example_input=IDS),
    "torch.export": lambda model, folder: openvino.convert_model(
        torch.export.export(model, (IDS,), dynamic_shapes=[SIZES])
    ),
    "onnx": lambda model, folder: openvino.convert_model(to_onnx(model, folder / "model.onnx", IDS)),
}


@pytest.mark.parametrize("source", SOURCES)
def test_openvino(model, tmp_path, source):
    converted = SOURCES[source](model, tmp_path)
    compiled = openvino.compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for shape in SHAPES:
        ids, _ = inputs_of(shape)
        logits = torch.from_numpy(compiled([ids.numpy()])[0])
        torch.testing.assert_close(logits, model(ids).logits, rtol=0, atol=1e-4)
