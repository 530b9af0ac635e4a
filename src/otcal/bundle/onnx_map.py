"""A transport map as an ONNX graph: the gradient of its potential written out, in float32.

The graph needs nothing of `otcal` or torch to be evaluated. Inputs are ``x`` of shape (n, d), and
``conditions`` of shape (n, k) for a map that has them; the output is ``y``, shape (n, d). For
probabilities (`probability_model`) they are ``p`` and ``calibrated``, shape (n, K).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from otcal.bundle.graph import Graph, Value
from otcal.runtime.files import atomic_path
from otcal.simplex import helmert
from otcal.transport.conditional import ConditionalPotential
from otcal.transport.convex import ConvexPotential
from otcal.transport.elementwise import drop_nothing, square
from otcal.transport.entropic import EntropicPotential
from otcal.transport.fitted import TransportMap
from otcal.transport.nicnn import InputConvexNetwork, PositiveLinear
from otcal.transport.potentials import Potential, QuadraticPotential
from otcal.transport.quantiles import QuantilePotential
from otcal.transport.simplex_maps import SMALLEST, Space

PRODUCER = "otcal"


def save_map(
    transport_map: TransportMap, path: str | Path, metadata: dict[str, str] | None = None
) -> None:
    """Write `map_model` to a file, whole or not at all."""
    with atomic_path(path) as temporary:
        onnx.save(map_model(transport_map, metadata), temporary)


def map_model(
    transport_map: TransportMap, metadata: dict[str, str] | None = None
) -> onnx.ModelProto:
    """Return `TransportMap.transport` as an ONNX model.

    Parameters
    ----------
    transport_map
        Fitted map.
    metadata
        Texts to keep in the model's properties.
    """
    graph = Graph()
    x = graph.input("x", transport_map.dimension)
    y = _transport(graph, transport_map, x)
    graph.output("y", y, transport_map.dimension)
    return graph.model("transport", metadata or {}, PRODUCER)


def probability_model(
    transport_map: TransportMap, space: Space, metadata: dict[str, str] | None = None
) -> onnx.ModelProto:
    """Return a map of class probabilities as an ONNX model, with its change of coordinates inside.

    Parameters
    ----------
    transport_map
        Map between the coordinates of `otcal.transport.simplex_maps.encode`.
    space
        Which coordinates these are.
    metadata
        Texts to keep in the model's properties.
    """
    graph = Graph()
    classes = transport_map.dimension + (space == "ilr")
    p = graph.input("p", classes)
    log_p = graph.log(p)
    matrix = helmert(classes)
    if space == "ilr":
        encoded = graph.product(log_p, matrix.T)
    else:
        one = graph.constant(1.0)
        encoded = graph.subtract(log_p, graph.log(graph.subtract(one, p)))
    moved = _transport(graph, transport_map, encoded)
    result = graph.softmax(graph.product(moved, matrix)) if space == "ilr" else graph.sigmoid(moved)
    result = graph.maximum(result, SMALLEST)
    graph.output("calibrated", graph.divide(result, graph.total(result)), classes)
    return graph.model("transport of probabilities", metadata or {}, PRODUCER)


def _transport(graph: Graph, transport_map: TransportMap, x: Value) -> Value:
    """Add decode ∘ ∇φ_K ∘ … ∘ ∇φ_1 ∘ encode."""
    coordinates = transport_map.coordinates
    if transport_map.conditions:
        x = graph.join(x, graph.input("conditions", transport_map.conditions))
    centred = graph.shift(x, -_array(coordinates.source_mean))
    u = graph.product(centred, _array(coordinates.source_in))
    for potential in transport_map.potentials:
        u = _GRADIENTS[type(potential)](graph, potential, u)
    y = graph.shift(
        graph.product(u, _array(coordinates.target_out)), _array(coordinates.target_mean)
    )
    if coordinates.outside is not None:
        y = graph.add(y, graph.product(centred, _array(coordinates.outside)))
    return graph.columns(y, 0, transport_map.dimension) if transport_map.conditions else y


def _quadratic(graph: Graph, potential: QuadraticPotential, u: Value) -> Value:
    return u


def _convex(graph: Graph, potential: ConvexPotential, u: Value) -> Value:
    w = graph.scale(u, _array(potential.scales))
    pull = _network(graph, potential, w, graph.constant(_array(potential.biases)))
    curved = graph.scale(u, _array(potential._diagonal()))
    pull = graph.shift(pull, _array(potential.shift))
    return graph.add(curved, graph.scale(pull, _array(potential.scales)))


def _conditional(graph: Graph, potential: ConditionalPotential, rows: Value) -> Value:
    network = potential.network
    u, c = graph.split(rows, (potential.moved, potential.conditions))
    h = graph.tanh(
        graph.shift(graph.product(c, _array(potential.weight).T), _array(potential.bias))
    )
    offset, biases, shift, curvature, gain = graph.split(
        graph.product(h, _array(potential.heads).T), potential.sizes
    )
    scales = _array(network.scales)
    w = graph.add(graph.scale(u, scales), offset)
    pull = _network(graph, network, w, graph.shift(biases, _array(network.biases)))
    pull = graph.add(
        graph.multiply(graph.exp(gain), pull), graph.shift(shift, _array(network.shift))
    )
    exponent = graph.scale(graph.shift(curvature, _array(network.curvature)), scales)
    stiffness = graph.scale(graph.exp(exponent), _array(network.stiffness))
    curved = graph.multiply(u, graph.shift(stiffness, network.floor))
    return graph.join(graph.add(curved, graph.scale(pull, scales)), c)


def _network(graph: Graph, potential: ConvexPotential, w: Value, biases: Value) -> Value:
    """Add the gradient in w of what units and pieces add: `ConvexPotential` pass by pass."""
    total, pieces = sum(potential.hidden), potential.pieces
    count = len(potential.skips)
    skips = _array(drop_nothing(potential.skips))
    raw = graph.product(w, skips.T)
    linear, projections = graph.split(raw, (total + pieces, count - total - pieces))
    linear = graph.add(linear, biases)
    squares = graph.multiply(projections, projections)
    own = graph.add(graph.columns(linear, 0, total), graph.columns(squares, 0, total))
    weights = [_array(square(root)) for root in potential.roots]
    units: list[Value] = []
    rates: list[Value] = []
    for i, t in enumerate(graph.split(own, potential.hidden)):
        if i:
            t = graph.add(t, graph.product(units[-1], weights[i - 1].T))
        root = graph.root(graph.shift(graph.multiply(t, t), 1.0))
        units.append(graph.scale(graph.add(t, root), 0.5))
        rates.append(graph.divide(units[-1], root))
    above = graph.constant(_array(square(potential.readout)))
    shares = mixture = None
    if pieces:
        mixture = _array(square(potential.mixture))
        r = graph.add(
            graph.add(
                graph.columns(linear, total, total + pieces), graph.product(squares, mixture.T)
            ),
            graph.product(units[-1], weights[-1].T),
        )
        heat = float(potential.warmth.exp())
        shares = graph.scale(graph.softmax(graph.scale(r, 1.0 / heat)), float(potential.strength))
        above = graph.add(graph.product(shares, weights.pop()), above)
    slopes = [graph.multiply(rates[-1], above)]
    for weight, rate in zip(reversed(weights), reversed(rates[:-1]), strict=True):
        slopes.append(graph.multiply(graph.product(slopes[-1], weight), rate))
    bends = outer = graph.join(*slopes[::-1])
    if shares is not None and mixture is not None:
        outer = graph.join(outer, shares)
        extra = graph.product(shares, mixture)
        inner = graph.add(bends, graph.columns(extra, 0, total))
        bends = graph.join(inner, graph.columns(extra, total, mixture.shape[1]))
    pull = graph.join(outer, graph.scale(graph.multiply(projections, bends), 2.0))
    return graph.product(pull, skips)


def _entropic(graph: Graph, potential: EntropicPotential, u: Value) -> Value:
    exponents = graph.shift(
        graph.product(u, _array(potential.points).T), -_array(potential.offsets)
    )
    shares = graph.softmax(graph.scale(exponents, 1.0 / potential.epsilon))
    mean = graph.scale(graph.product(shares, _array(potential.points)), 1.0 - potential.floor)
    return graph.add(mean, graph.scale(u, potential.floor))


def _quantile(graph: Graph, potential: QuantilePotential, u: Value) -> Value:
    """Add a sum of ramps, one for each interval between knots and two beyond them."""
    places, slopes = _array(potential.places), _array(potential.slopes)
    lower = graph.scale(graph.minimum(graph.shift(u, -places[0]), 0.0), slopes[0])
    upper = graph.scale(graph.maximum(graph.shift(u, -places[-1]), 0.0), slopes[-1])
    result = graph.shift(graph.add(lower, upper), potential.heights[0].item())
    if len(places) > 1:
        steps = np.diff(places)[None]
        ramps = graph.minimum(graph.maximum(graph.shift(u, -places[None, :-1]), 0.0), steps)
        result = graph.add(result, graph.product(ramps, slopes[1:-1, None]))
    return result


def _icnn(graph: Graph, potential: InputConvexNetwork, u: Value) -> Value:
    skips: list[Any] = list(potential.skips)
    layers = [layer for layer in potential.layers if isinstance(layer, PositiveLinear)]
    t = graph.shift(graph.product(u, _array(skips[0].weight).T), _array(skips[0].bias))
    inputs = [t]
    for layer, skip in zip(layers[:-1], skips[1:-1], strict=True):
        first = len(inputs) == 1
        h = graph.softplus(t)
        h = graph.subtract(h, graph.scale(t, 0.5)) if first else graph.shift(h, -np.log(2.0))
        t = graph.add(
            graph.shift(graph.product(u, _array(skip.weight).T), _array(skip.bias)),
            graph.product(h, _array(layer.weight()).T),
        )
        inputs.append(t)
    strength = float(torch.nn.functional.softplus(potential.strength))
    result = graph.shift(
        graph.scale(u, potential.strong_convexity()), strength * _array(skips[-1].weight)[0]
    )
    slope = None
    for i in range(len(layers) - 1, -1, -1):
        rate = graph.sigmoid(inputs[i])
        rate = graph.shift(rate, -0.5) if i == 0 else rate
        weight = _array(layers[i].weight())
        back = graph.constant(strength * weight) if slope is None else graph.product(slope, weight)
        slope = graph.multiply(back, rate)
        result = graph.add(result, graph.product(slope, _array(skips[i].weight)))
    return result


_GRADIENTS: dict[type[Potential], Callable[[Graph, Any, Value], Value]] = {
    QuadraticPotential: _quadratic,
    ConvexPotential: _convex,
    ConditionalPotential: _conditional,
    EntropicPotential: _entropic,
    QuantilePotential: _quantile,
    InputConvexNetwork: _icnn,
}


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().cpu().numpy()
