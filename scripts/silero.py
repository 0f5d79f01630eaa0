"""Writes app/speech/windows/silero.onnx: the network of Silero, arranged so that a processor runs it four times faster.

    pip install onnx && python scripts/silero.py

The weights are those of the file that faster-whisper ships, and the results are the same but for rounding
(`tests/speech/windows/test_voice_activity.py` compares them). Two things differ:

- The convolutions are products of large matrices, because ONNX Runtime is slow at many small convolutions.
- The last layer, which alone has a memory, may have several memories. They share all other layers, which are nine
  tenths of the work. Inputs: `frames` (frames, 576), `hidden` and `cell` (1, memories, 128). Outputs:
  `probabilities` (frames, memories), `hidden_after` and `cell_after` (1, memories, 128).

The package `onnx` is not among the project's requirements, because nothing else needs it.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from faster_whisper.utils import get_assets_path
from onnx import TensorProto, helper, numpy_helper

SOURCE = Path(get_assets_path()) / "silero_vad_v6.onnx"
TARGET = Path(__file__).parent.parent / "app" / "speech" / "windows" / "silero.onnx"
HOP = 128  # samples between two spectra; each spectrum is of two hops
MEMORY = 128
OPSET, IR_VERSION = 18, 8


class Graph:
    """Collects nodes and constants."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, outputs: tuple[str, ...] = (), **attributes: Any) -> str:
        """Adds a node. Returns the name of its first output."""
        outputs = outputs or (f"node_{len(self.nodes)}",)
        self.nodes.append(helper.make_node(operator, inputs, outputs, **attributes))
        return outputs[0]

    def constant(self, values: Any) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def numbers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def steps(self, tensor: str, first: int, end: int, step: int = 1) -> str:
        """A part of the steps of a tensor, which is (frames, steps, features)."""
        return self.add("Slice", tensor, *(self.numbers(number) for number in (first, end, 1, step)))

    def spectra(self, frames: str, basis: Any) -> str:
        """The magnitudes of four spectra in each frame. The end of a frame is reflected for the last spectrum."""
        padded = self.add("Pad", frames, self.numbers(0, 0, 0, 64), mode="reflect")
        hops = self.add("Reshape", padded, self.numbers(-1, 5, HOP))
        pairs = self.add("Concat", self.steps(hops, 0, 4), self.steps(hops, 1, 5), axis=2)
        parts = self.add("MatMul", pairs, self.constant(basis[:, 0].T))
        squares = self.add("Mul", parts, parts)
        self.add("Split", squares, outputs=("real", "imaginary"), axis=2, num_outputs=2)
        return self.add("Sqrt", self.add("Add", "real", "imaginary"))

    def convolution(self, tensor: str, steps: int, stride: int, weight: Any, bias: Any) -> str:
        """A convolution over three steps of a tensor that has this many steps, and zeros before and after them."""
        outputs, inputs, _ = weight.shape
        if steps == 1:
            product = self.add("MatMul", tensor, self.constant(weight[:, :, 1].T))
        else:
            padded = self.add("Pad", tensor, self.numbers(0, 1, 0, 0, 1, 0))
            length = stride * ((steps - 1) // stride) + 1
            shifted = [self.steps(padded, shift, shift + length, stride) for shift in range(3)]
            taps = weight.transpose(2, 1, 0).reshape(3 * inputs, outputs)
            product = self.add("MatMul", self.add("Concat", *shifted, axis=2), self.constant(taps))
        return self.add("Relu", self.add("Add", product, self.constant(bias)))

    def remembering(self, tensor: str, weights: list[Any], weight: Any, bias: Any) -> None:
        """The layer with memories, and the probabilities that follow from it."""
        shared = self.add("Expand", tensor, self.add("Shape", "hidden"))
        constants = [self.constant(values) for values in weights]
        states = ("remembered", "hidden_after", "cell_after")
        self.add("LSTM", shared, *constants, "", "hidden", "cell", outputs=states, hidden_size=MEMORY)
        known = self.add("Relu", self.add("Squeeze", "remembered", self.numbers(1)))
        score = self.add("Squeeze", self.add("MatMul", known, self.constant(weight[0])), self.numbers(2))
        self.add("Sigmoid", self.add("Add", score, self.constant(bias)), outputs=("probabilities",))


def network() -> onnx.ModelProto:
    source = onnx.load(SOURCE)
    weights = {each.name: numpy_helper.to_array(each) for each in source.graph.initializer}
    graph = Graph()
    tensor = graph.spectra("frames", weights["encoder.feature_extractor.forward_basis_buffer"])
    for layer, (steps, stride) in enumerate([(4, 1), (4, 2), (2, 2), (1, 1)]):
        name = f"encoder.conv_layers.{layer}"
        tensor = graph.convolution(tensor, steps, stride, weights[f"{name}.weight"], weights[f"{name}.bias"])
    lstm = [weights[f"onnx::LSTM_{number}"] for number in (209, 210, 211)]
    graph.remembering(tensor, lstm, weights["decoder.conv1d.weight"], weights["decoder.conv1d.bias"])
    states = [_floats(name, 1, "memories", MEMORY) for name in ("hidden", "cell", "hidden_after", "cell_after")]
    inputs = [_floats("frames", "frames", 576), *states[:2]]
    outputs = [_floats("probabilities", "frames", "memories"), *states[2:]]
    made = helper.make_graph(graph.nodes, "silero", inputs, outputs, graph.constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _floats(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


if __name__ == "__main__":
    model = network()
    onnx.checker.check_model(model)
    onnx.save(model, TARGET)
