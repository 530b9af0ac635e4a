"""Convexity by construction, and derivatives against autograd."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otcal.transport.convex import ConvexPotential
from otcal.transport.entropic import EntropicPotential
from otcal.transport.nicnn import InputConvexNetwork, NestedConvexNetwork
from otcal.transport.potentials import Potential, hessian


def potential(kind: str, d: int, seed: int = 0) -> Potential:
    torch.manual_seed(seed)
    if kind == "icnn":
        return InputConvexNetwork(d, (24, 16))
    if kind == "entropic":
        smooth = EntropicPotential(d, 50, epsilon=0.3)
        smooth.points.copy_(torch.randn(50, d))
        smooth.offsets.copy_(torch.randn(50))
        return smooth
    above = {"pieces": 5, "squares": 7} if kind == "pieces" else {}
    network = ConvexPotential(d, (24, 16, 8), scales=torch.linspace(0.3, 2.0, d), **above)
    with torch.no_grad():  # away from the starting values, as a fit would leave it
        for parameter in network.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return network


KINDS = ["convex", "pieces", "icnn", "entropic"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reach", [1.0, 1e3, 1e6])
def test_convex_along_segments(kind: str, reach: float) -> None:
    network = potential(kind, 6).double()
    a, b = (reach * torch.randn(500, 6, dtype=torch.float64) for _ in range(2))
    t = torch.rand(500, 1, dtype=torch.float64)
    ends = torch.stack([network(a), network(b)])
    chord = (1 - t[:, 0]) * ends[0] + t[:, 0] * ends[1]
    assert (chord - network((1 - t) * a + t * b) >= -1e-12 * ends.abs().amax(0)).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reach", [0.0, 1.0, 30.0, 1e3, 1e6])
def test_jacobian_is_symmetric_and_positive_in_float32(kind: str, reach: float) -> None:
    network = potential(kind, 6)
    jacobian = hessian(network, reach * torch.randn(200, 6))
    size = jacobian.abs().amax((1, 2))
    if isinstance(network, EntropicPotential):  # a difference of second moments of its centres
        size = size.clamp_min(float(network.points.square().sum(1).max()) / network.epsilon)
    assert ((jacobian - jacobian.mT).abs().amax((1, 2)) <= 1e-5 * size).all()
    smallest = torch.linalg.eigvalsh(jacobian.double())[:, 0]
    assert (smallest >= network.strong_convexity() - 1e-5 * size).all()


@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 10_000), reach=st.floats(0.01, 1e4))
@settings(max_examples=60, deadline=None)
def test_gradient_is_monotone_whatever_the_parameters(kind: str, seed: int, reach: float) -> None:
    network = potential(kind, 4, seed)
    a, b = (reach * torch.randn(64, 4) for _ in range(2))
    at_a, at_b = (network.value_and_gradient(u)[1] for u in (a, b))
    inner, length = ((at_a - at_b) * (a - b)).sum(1), (a - b).square().sum(1)
    rounding = 1e-6 * (at_a.norm(dim=1) + at_b.norm(dim=1))  # of float32, in both gradients
    if isinstance(network, EntropicPotential):  # the softmax's exponents are rounded before exp
        exponent = (a.norm(dim=1) + b.norm(dim=1)) * network.points.norm(dim=1).max() / 0.3
        rounding += 1e-7 * exponent * network.points.norm(dim=1).max()
    assert (inner >= network.strong_convexity() * length - rounding * length.sqrt()).all()


@pytest.mark.parametrize("kind", KINDS)
def test_written_out_gradient_agrees_with_autograd(kind: str) -> None:
    network = potential(kind, 5).double()
    u = torch.randn(40, 5, dtype=torch.float64, requires_grad=True)
    expected = torch.autograd.grad(network(u).sum(), u)[0]
    value, gradient = network.value_and_gradient(u.detach())
    torch.testing.assert_close(value, network(u).detach())
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("kind", ["convex", "pieces"])
def test_parameter_gradient_agrees_with_autograd(kind: str) -> None:
    network = potential(kind, 5).double()
    assert isinstance(network, ConvexPotential)
    u, weights = torch.randn(40, 5, dtype=torch.float64), torch.randn(40, dtype=torch.float64)
    expected = torch.autograd.grad((weights * network(u)).sum(), list(network.parameters()))
    network.accumulate(u, weights)
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("kind", ["convex", "pieces"])
def test_products_in_bfloat16_are_off_by_its_rounding(kind: str) -> None:
    network, u = potential(kind, 6), torch.randn(64, 6)
    assert isinstance(network, ConvexPotential)
    weights = torch.rand(64) / 64
    found = []
    for products in (None, torch.bfloat16):
        network.products = products
        network.zero_grad()
        gradient = network.gradient(u)
        network.accumulate(u, weights)
        assert gradient.dtype == torch.float32
        grads = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
        found.append((gradient, grads))
    for exact, rough in zip(*found, strict=True):
        assert 1e-5 < (rough - exact).norm() / exact.norm() < 0.01


@pytest.mark.parametrize("pieces", [0, 5])
def test_products_in_bfloat16_read_no_other_numbers(pieces: int) -> None:
    # An odd number of columns: kernels may read one more, of memory that was others' before.
    torch.manual_seed(0)
    network = ConvexPotential(6, hidden=(15, 15), pieces=pieces)
    network.products = torch.bfloat16
    u = torch.randn(64, 6)
    for _ in range(20):
        shape = (64, len(network.skips))
        used = [torch.full(shape, torch.nan, dtype=torch.bfloat16) for _ in range(20)]
        del used
        network.accumulate(u, torch.ones(64))
        assert torch.isfinite(network.gradient(u)).all()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("pieces", [0, 32])
@pytest.mark.parametrize("dimension", [2, 16, 128])
def test_start_is_close_to_the_identity(dimension: int, pieces: int) -> None:
    torch.manual_seed(0)
    network = ConvexPotential(dimension, pieces=pieces, squares=2 * pieces)
    u = torch.randn(2000, dimension)
    network.start_at_identity(u)
    gradient = network.gradient(u)
    error = (gradient - u).square().sum(1).mean()
    assert error < 0.05 * u.square().sum(1).mean()
    # The network has a part in it, or it would take long to have one.
    own = torch.autograd.functional.vjp(
        lambda z: network.value(z, network.biases), u, torch.ones(len(u))
    )[1]
    slope = ((own * u).mean(0) / u.square().mean(0)).max()
    assert 0.02 < slope < 0.55


def test_pieces_far_below_the_largest_have_no_share() -> None:
    torch.manual_seed(0)
    network = ConvexPotential(4, pieces=32, squares=32)
    shares = network.evaluate(40.0 * torch.randn(500, 4), network.biases).forwards.shares
    assert shares is not None
    assert (shares == 0.0).any()
    assert shares[shares > 0.0].min() > torch.finfo(torch.float32).tiny
    torch.testing.assert_close(shares.sum(1), network.strength.expand(500))


def test_parts_that_a_fit_gave_up_are_zero() -> None:
    torch.manual_seed(0)
    network = ConvexPotential(4, pieces=32, squares=32)
    with torch.no_grad():
        for root in (*network.roots, network.mixture, network.readout):
            root.flatten()[::2] = 1e-7  # whose square is 1e-14
        network.skips[::2] *= 1e-19  # so that squares of projections would be subnormal
    weights = network._weights()
    assert weights.pool is not None
    assert weights.spread is not None
    for found in (weights.skips, *weights.layers, weights.pool, weights.spread, weights.readout):
        assert float((found == 0.0).float().mean()) == 0.5
    state = network.evaluate(torch.randn(500, 4), network.biases)
    for found in (state.slopes, state.forwards.projections.square()):
        sizes = found[found != 0.0].abs()
        assert sizes.min() > torch.finfo(torch.float32).tiny


def test_nested_network_composes_gradients_and_trains_through_them() -> None:
    torch.manual_seed(0)
    network = NestedConvexNetwork(3, blocks=2, hidden=(16, 16)).double()
    x = torch.randn(20, 3, dtype=torch.float64, requires_grad=True)
    first, second = network.chain()
    inner = torch.autograd.grad(first(x).sum(), x, create_graph=True)[0]
    moved = torch.autograd.grad(second(inner).sum(), inner, create_graph=True)[0]
    torch.testing.assert_close(network.transport(x), moved)
    torch.testing.assert_close(network(x), second(inner))
    weights = torch.randn(20, 3, dtype=torch.float64)
    parameters = list(network.parameters())
    # Double backward through autograd's own gradient against the written-out one.
    slow = torch.autograd.grad((weights * moved).sum(), parameters, allow_unused=True)
    fast = torch.autograd.grad(
        (weights * network.transport(x)).sum(), parameters, allow_unused=True
    )
    for one, other in zip(slow, fast, strict=True):
        if one is not None and other is not None:
            torch.testing.assert_close(one, other)
        else:  # constants of a block drop out of its gradient
            assert all(g is None or not g.any() for g in (one, other))


def test_composition_is_not_a_gradient() -> None:
    torch.manual_seed(0)
    network = NestedConvexNetwork(3, blocks=2, hidden=(16, 16)).double()
    with torch.no_grad():
        for block in network.chain():
            block.strength.fill_(30.0)
    jacobian = torch.func.vmap(
        torch.func.jacrev(lambda row: network.transport(row[None]).squeeze(0))
    )(torch.randn(20, 3, dtype=torch.float64))
    assert (jacobian - jacobian.mT).abs().max() > 1e-3 * jacobian.abs().max()
