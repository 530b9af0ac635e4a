"""Build an ONNX graph node by node, with the few operators that a transport map needs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from otcal.runtime.errors import InputError

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ModuleNotFoundError as error:
    raise InputError(
        "onnx", "package", "is not installed", "Run: pip install 'otcal[bundle]'"
    ) from error

OPSET = 17
"""Operator set: that of ONNX 1.12 (2022), which every supported runtime has."""

IR_VERSION = 8  # of the same release

Value = str
"""Name of a value in the graph."""


class Graph:
    """Nodes, constants, inputs and outputs; all values are float32 unless said otherwise.

    Methods named after operators add a node and return the name of its value.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, columns: int) -> Value:
        """Add an input of shape (n, columns), n being free."""
        self.inputs.append(_described(name, columns))
        return name

    def output(self, name: str, value: Value, columns: int) -> None:
        """Add an output of shape (n, columns)."""
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(_described(name, columns))

    def constant(self, array: ArrayLike, kind: type = np.float32) -> Value:
        """Add a constant."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, dtype=kind), name))
        return name

    def add(self, a: Value, b: Value) -> Value:
        """Return a + b."""
        return self._node("Add", a, b)

    def subtract(self, a: Value, b: Value) -> Value:
        """Return a − b."""
        return self._node("Sub", a, b)

    def multiply(self, a: Value, b: Value) -> Value:
        """Return a · b, elementwise."""
        return self._node("Mul", a, b)

    def divide(self, a: Value, b: Value) -> Value:
        """Return a / b."""
        return self._node("Div", a, b)

    def product(self, a: Value, matrix: ArrayLike) -> Value:
        """Return a · matrix."""
        return self._node("MatMul", a, self.constant(matrix))

    def scale(self, a: Value, factor: ArrayLike) -> Value:
        """Return a · factor, elementwise; factor is a number or has a's columns."""
        return self.multiply(a, self.constant(factor))

    def shift(self, a: Value, offset: ArrayLike) -> Value:
        """Return a + offset; offset is a number or has a's columns."""
        return self.add(a, self.constant(offset))

    def root(self, a: Value) -> Value:
        """Return √a."""
        return self._node("Sqrt", a)

    def exp(self, a: Value) -> Value:
        """Return exp a."""
        return self._node("Exp", a)

    def log(self, a: Value) -> Value:
        """Return the natural logarithm of a."""
        return self._node("Log", a)

    def tanh(self, a: Value) -> Value:
        """Return tanh a."""
        return self._node("Tanh", a)

    def error_function(self, a: Value) -> Value:
        """Return erf a."""
        return self._node("Erf", a)

    def sigmoid(self, a: Value) -> Value:
        """Return 1 / (1 + exp(−a))."""
        return self._node("Sigmoid", a)

    def softplus(self, a: Value) -> Value:
        """Return log(1 + exp a)."""
        return self._node("Softplus", a)

    def softmax(self, a: Value) -> Value:
        """Return the softmax over columns."""
        return self._node("Softmax", a, axis=1)

    def minimum(self, a: Value, bound: ArrayLike) -> Value:
        """Return the smaller of a and the bound."""
        return self._node("Min", a, self.constant(bound))

    def maximum(self, a: Value, bound: ArrayLike) -> Value:
        """Return the larger of a and the bound."""
        return self._node("Max", a, self.constant(bound))

    def total(self, a: Value) -> Value:
        """Return the sum over columns, shape (n, 1)."""
        return self._node("ReduceSum", a, self.constant([1], np.int64), keepdims=1)

    def join(self, *parts: Value) -> Value:
        """Return columns side by side."""
        return parts[0] if len(parts) == 1 else self._node("Concat", *parts, axis=1)

    def columns(self, a: Value, start: int, stop: int) -> Value:
        """Return columns start … stop − 1."""
        place = (self.constant([edge], np.int64) for edge in (start, stop, 1))
        return self._node("Slice", a, *place)

    def split(self, a: Value, sizes: Sequence[int]) -> list[Value]:
        """Return blocks of columns."""
        edges = np.concatenate([[0], np.cumsum(sizes)])
        return [self.columns(a, int(start), int(stop)) for start, stop in pairwise(edges)]

    def model(self, name: str, metadata: dict[str, str], producer: str) -> onnx.ModelProto:
        """Return the checked model."""
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.constants)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(
            graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name=producer
        )
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _node(self, operator: str, *inputs: Value, **attributes: Any) -> Value:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name


def _described(name: str, columns: int) -> onnx.ValueInfoProto:
    shape: list[str | int | None] = ["jets", columns]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
