"""Flows that learn: from labels, then from responsibilities; continued with the same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from otcal.config.mixture import DensityStep, FlowSpec, Pretraining
from otcal.mixture.adaptation import AdaptedFlows
from otcal.mixture.flows import Architecture, Components
from otcal.mixture.pretraining import _Trainee, pretrain
from otcal.runtime import checkpoint
from otcal.runtime.errors import InputError

FLAVOURS = ("b", "c")
FLOW = FlowSpec(transforms=1, hidden=(8,), bins=4)
ENTROPY = 1.0 + np.log(2 * np.pi)
"""Of a normal distribution of unit width in two dimensions."""


def points(seed: int, n: int = 1500) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal([2.0, 0.0], 1.0, (n, 2)), rng.normal([-2.0, 1.0], 1.0, (n, 2))]


def fitted(steps: int = 150, seed: int = 0, **options: object) -> tuple[Components, list[float]]:
    spec = Pretraining(steps=steps, batch=256, learning_rate=0.02, evaluate_every=30)
    components, result = pretrain(points(1), points(2), FLAVOURS, FLOW, spec, seed, **options)
    return components, [row["validation_loss"] for row in result.history]


def entropies(components: Components, z: list[np.ndarray]) -> np.ndarray:
    return np.array([-components.log_prob(rows)[:, k].mean() for k, rows in enumerate(z)])


def test_pretrained_flows_describe_their_own_flavour() -> None:
    components, losses = fitted()
    unseen = points(3, 4000)
    np.testing.assert_allclose(entropies(components, unseen), ENTROPY, atol=0.04)
    assert entropies(components, unseen[::-1]).min() > ENTROPY + 2.0
    assert losses[-1] < losses[0]
    scale = np.log(components.scale).sum()
    held_out = entropies(components, points(2)).mean()
    assert min(losses) == pytest.approx(held_out - scale, abs=1e-5)


def test_pretraining_depends_on_the_seed_only(tmp_path: Path) -> None:
    z = points(3, 50)[0]
    first = fitted(40)[0].log_prob(z)
    np.testing.assert_array_equal(fitted(40)[0].log_prob(z), first)
    assert np.abs(fitted(40, seed=1)[0].log_prob(z) - first).max() > 1e-3


def test_interrupted_pretraining_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, losses = fitted(40)
    path = tmp_path / "checkpoint.safetensors"
    step = _Trainee.step

    def interrupted(self: _Trainee, number: int) -> object:
        if number == 25:
            raise KeyboardInterrupt
        return step(self, number)

    monkeypatch.setattr(_Trainee, "step", interrupted)
    monkeypatch.setattr("otcal.runtime.training.time.monotonic", iter(range(0, 10**6, 61)).__next__)
    with pytest.raises(KeyboardInterrupt):
        fitted(40, checkpoint_path=path, identity={"a": 1})
    assert path.exists()
    monkeypatch.setattr(_Trainee, "step", step)
    components, continued = fitted(40, checkpoint_path=path, identity={"a": 1})
    assert continued == losses
    z = points(3, 50)[0]
    np.testing.assert_array_equal(components.log_prob(z), whole.log_prob(z))


def test_divergence_is_named() -> None:
    spec = Pretraining(steps=10, learning_rate=1e37, evaluate_every=5)
    with pytest.raises(InputError, match="learning_rate: diverges"):
        pretrain(points(1, 200), points(2, 200), FLAVOURS, FLOW, spec, 0)


@pytest.fixture(scope="module")
def components() -> Components:
    return fitted()[0]


def adapted(components: Components, seed: int = 0, **options: object) -> AdaptedFlows:
    spec = DensityStep.model_validate({"batch": 256, "learning_rate": 0.01, **options})
    return AdaptedFlows(components, spec, seed)


def test_flows_follow_the_weights_of_all_events(components: Components) -> None:
    """Weights that move every flavour by one: the moved density has the same entropy."""
    model = adapted(components, epochs=4, averaging=0.9)
    moved = [z + 1.0 for z in points(4, 3000)]
    z = np.concatenate(moved)
    gamma = np.repeat(np.eye(2), 3000, axis=0)
    before = entropies(model.components, moved)
    for _ in range(3):
        model.update(z, gamma)
    after = entropies(model.components, [rows + 1.0 for rows in points(5, 4000)])
    assert before.min() > ENTROPY + 0.8
    np.testing.assert_allclose(after, ENTROPY, atol=0.06)
    # The start is left alone.
    np.testing.assert_allclose(entropies(components, points(3, 4000)), ENTROPY, atol=0.04)


def test_step_is_the_weighted_gradient(components: Components) -> None:
    """Against one step of plain Adam on Σ γ log q, written down directly."""
    model = adapted(components, averaging=0.0)
    z = np.concatenate(points(6, 128))
    gamma = np.random.default_rng(0).dirichlet([1.0, 1.0], len(z))
    reference = components.copy()
    optimiser = torch.optim.Adam(reference.flows.parameters(), lr=0.01)
    x, weight = reference.normalise(z), torch.from_numpy(gamma).float()
    log_q = torch.stack([flow().log_prob(x) for flow in reference.flows], dim=1)
    (-(weight * log_q).sum() / len(x)).backward()
    optimiser.step()
    model.update(z, gamma)
    np.testing.assert_allclose(model.log_prob(z), reference.log_prob(z), atol=2e-4)


def test_averaged_weights_are_the_running_mean(components: Components) -> None:
    model = adapted(components, averaging=0.75, batch=10_000)
    start = [weight.clone() for weight in components.flows.parameters()]
    model.update(np.concatenate(points(6, 128)), np.full((256, 2), 0.5))
    triples = zip(
        start, model.moving.parameters(), model.components.flows.parameters(), strict=True
    )
    for old, new, mean in triples:
        torch.testing.assert_close(mean, 0.75 * old + 0.25 * new)


def test_annealing_lowers_the_rate(components: Components) -> None:
    z, gamma = np.concatenate(points(6, 128)), np.full((256, 2), 0.5)
    sizes = []
    for times in (0, 2):
        model = adapted(components, averaging=0.0, batch=10_000, reduction=0.1)
        for _ in range(times):
            model.anneal()
        model.update(z, gamma)
        pairs = zip(components.flows.parameters(), model.moving.parameters(), strict=True)
        sizes.append(max(float((a - b).detach().abs().max()) for a, b in pairs))
    assert sizes[1] == pytest.approx(0.01 * sizes[0], rel=1e-2)


def test_restored_flows_go_on_with_the_same_bits(components: Components, tmp_path: Path) -> None:
    z, gamma = np.concatenate(points(6, 300)), np.repeat(np.eye(2), 300, axis=0)
    model = adapted(components)
    model.update(z, gamma)
    model.anneal()
    checkpoint.save(tmp_path / "state.safetensors", model.state())
    state = checkpoint.load(tmp_path / "state.safetensors")
    model.update(z, gamma)
    other = adapted(components)
    other.restore(state)
    other.update(z, gamma)
    np.testing.assert_array_equal(other.log_prob(z), model.log_prob(z))
    # Each update has batches of its own, and so has each seed.
    third = adapted(components, seed=1)
    third.restore(state)
    third.update(z, gamma)
    assert np.abs(third.log_prob(z) - model.log_prob(z)).max() > 1e-4


def test_features_of_the_flows_follow_the_points() -> None:
    spec = Pretraining(steps=1, batch=16)
    one = [np.random.default_rng(k).normal(size=(100, 1)) for k in range(2)]
    result, _ = pretrain(one, one, FLAVOURS, FLOW, spec, 0)
    assert result.architecture == Architecture(1, 1, (8,), 4)
