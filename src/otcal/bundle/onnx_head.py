"""The layers after a latent as an ONNX graph: from ``z128`` to ``zp128`` and ``z10``."""

from __future__ import annotations

import numpy as np
import onnx
from torch import nn

from otcal.bundle.graph import Graph, Value
from otcal.tagger.head import Head

OUTPUTS = ("zp128", "z10")
"""Names of the outputs of `head_model`, in their order."""


def head_model(head: Head, metadata: dict[str, str] | None = None) -> onnx.ModelProto:
    """Return `Head.from_z128` as an ONNX model; its input is ``z128``, shape (n, width).

    Parameters
    ----------
    head
        Trained head of a tagger.
    metadata
        Texts to keep in the model's properties.
    """
    graph = Graph()
    value = graph.input("z128", head.widths[0])
    layers = [layer for layer in head.layers if isinstance(layer, nn.Linear)][1:]
    values = []
    for layer in layers:
        value = _linear(graph, layer, _gelu(graph, value))
        values.append(value)
    for name, output, width in zip(OUTPUTS, values[-2:], head.widths[1:], strict=True):
        graph.output(name, output, width)
    return graph.model("head", metadata or {}, "otcal")


def _linear(graph: Graph, layer: nn.Linear, value: Value) -> Value:
    product = graph.product(value, layer.weight.detach().cpu().numpy().T)
    return graph.shift(product, layer.bias.detach().cpu().numpy())


def _gelu(graph: Graph, value: Value) -> Value:
    """Add x (1 + erf(x/√2)) / 2."""
    erf = graph.error_function(graph.scale(value, np.sqrt(0.5)))
    return graph.multiply(graph.scale(value, 0.5), graph.shift(erf, 1.0))
