"""ONNX graphs of maps against the maps themselves, on the runtime that users have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from otcal.bundle.onnx_map import map_model, probability_model
from otcal.simplex import ilr, ilr_inverse
from otcal.transport.conditional import ConditionalPotential
from otcal.transport.conditions import Scale, extend
from otcal.transport.convex import ConvexPotential
from otcal.transport.coordinates import precondition
from otcal.transport.entropic import EntropicPotential
from otcal.transport.fitted import TransportMap
from otcal.transport.gaussian import fit_gaussian
from otcal.transport.nicnn import InputConvexNetwork
from otcal.transport.potentials import Potential, QuadraticPotential
from otcal.transport.quantiles import match_quantiles
from otcal.transport.simplex_maps import decode, encode


def samples(d: int, n: int = 500) -> list[np.ndarray]:
    rng = np.random.default_rng(d)
    return [rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d) for _ in "xy"]


def shaken(potential: Potential) -> Potential:
    with torch.no_grad():
        for parameter in potential.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return potential


def potentials(kind: str, r: int) -> list[Potential]:
    torch.manual_seed(1)
    scales = torch.linspace(0.3, 2.0, r)
    if kind == "pieces":
        return [shaken(ConvexPotential(r, (24, 16), scales=scales, pieces=5, squares=7))]
    if kind == "one layer":
        return [shaken(ConvexPotential(r, (24,), scales=scales))]
    if kind == "minimax":
        return [shaken(InputConvexNetwork(r, (24, 16, 8))) for _ in range(2)]
    if kind == "entropic":
        smooth = EntropicPotential(r, 50, epsilon=0.3)
        smooth.points.copy_(torch.randn(50, r))
        smooth.offsets.copy_(torch.randn(50))
        return [smooth]
    if kind == "quantile":
        return [match_quantiles(torch.randn(400, 1), torch.randn(300, 1).exp())]
    if kind == "gaussian":
        return [QuadraticPotential(r)]
    return [shaken(ConvexPotential(r, (24, 16, 8), scales=scales))]


def run(model, **inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (result,) = session.run(None, {k: v.astype(np.float32) for k, v in inputs.items()})
    return result


def check(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-5 * max(1.0, np.abs(expected).max())


def test_weights_that_a_fit_gave_up_are_zero_in_a_graph_too() -> None:
    network = shaken(ConvexPotential(3, (24, 16), pieces=5, squares=7))
    assert isinstance(network, ConvexPotential)
    with torch.no_grad():
        for root in (*network.roots, network.mixture, network.readout):
            root.flatten()[::2] = 1e-19  # whose square is subnormal
        network.skips.flatten()[::2] = 1e-39
    coordinates = precondition(fit_gaussian(*samples(3)), np.ones(3))
    model = map_model(TransportMap(coordinates, [network]))
    for weights in map(onnx.numpy_helper.to_array, model.graph.initializer):
        sizes = np.abs(weights[weights != 0])
        assert not len(sizes) or sizes.min() > np.finfo(np.float32).tiny


@pytest.mark.parametrize(
    ("kind", "d"),
    [
        ("convex", 128),
        ("convex", 3),
        ("one layer", 2),
        ("pieces", 16),
        ("minimax", 5),
        ("entropic", 2),
        ("quantile", 1),
        ("gaussian", 4),
    ],
)
def test_the_graph_is_the_map(kind: str, d: int) -> None:
    x, y = samples(d)
    coordinates = precondition(fit_gaussian(x, y), np.ones(d))
    fitted = TransportMap(coordinates, potentials(kind, coordinates.rank))
    model = map_model(fitted)
    check(run(model, x=x), fitted.transport(x))
    check(run(model, x=x[:1]), fitted.transport(x[:1]))  # the number of rows is free


def test_directions_without_variation_are_shifted_in_the_graph_too() -> None:
    x, y = samples(4)
    x[:, 1], y[:, 1] = 2.0, 3.0
    coordinates = precondition(fit_gaussian(x, y), np.ones(4))
    assert coordinates.rank == 3
    fitted = TransportMap(coordinates, potentials("convex", 3))
    moved = run(map_model(fitted), x=x)
    check(moved, fitted.transport(x))
    assert moved[:, 1] == pytest.approx(3.0, abs=1e-4)


@pytest.mark.parametrize("pieces", [0, 5])
def test_conditions_are_an_input_of_their_own(pieces: int) -> None:
    x, y = samples(3)
    c = np.random.default_rng(1).normal(size=(500, 2)) * [100.0, 1.0] + [300.0, 0.0]
    scale = Scale(c.mean(0), c.std(0))
    slopes = np.random.default_rng(2).normal(size=(2, 2, 3))
    plain = precondition(fit_gaussian(x, y), np.ones(3))
    torch.manual_seed(3)
    network = ConditionalPotential(5, 2, hidden=(12, 8), pieces=pieces, squares=pieces)
    fitted = TransportMap(extend(plain, scale, *slopes), [shaken(network)])
    expected = fitted.transport(x, c)
    assert np.abs(expected - fitted.transport(x, c + np.array([50.0, 0.5]))).max() > 0.1
    check(run(map_model(fitted), x=x, conditions=c), expected)


@pytest.mark.parametrize("space", ["ilr", "logit"])
def test_probabilities_go_in_and_come_out(space) -> None:
    rng = np.random.default_rng(1)
    p, q = (ilr_inverse(rng.normal(size=(500, 2)) + shift) for shift in (0.0, 0.5))
    x, y = encode(p, space), encode(q, space)
    d = x.shape[1]
    coordinates = precondition(fit_gaussian(x, y), np.ones(d))
    fitted = TransportMap(coordinates, potentials("convex", coordinates.rank))
    moved = run(probability_model(fitted, space), p=p)
    check(moved, decode(fitted.transport(x), space).p)
    assert moved.sum(1) == pytest.approx(1.0, abs=1e-6)
    # A common factor of the probabilities has no influence on log-ratios.
    if space == "ilr":
        assert ilr(run(probability_model(fitted, space), p=3 * p)) == pytest.approx(
            ilr(moved), abs=1e-4
        )


def test_the_file_and_its_metadata(tmp_path: Path) -> None:
    x, y = samples(2)
    fitted = TransportMap(precondition(fit_gaussian(x, y), np.ones(2)), [QuadraticPotential(2)])
    fitted.to_onnx(tmp_path / "map.onnx", {"flavour": "b"})
    session = onnxruntime.InferenceSession(tmp_path / "map.onnx")
    assert session.get_modelmeta().custom_metadata_map == {"flavour": "b"}
    assert session.get_modelmeta().producer_name == "otcal"
