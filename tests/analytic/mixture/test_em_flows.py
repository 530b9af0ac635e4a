"""The whole extraction on a known answer: non-Gaussian flavours that differ from simulation."""

from __future__ import annotations

import numpy as np
import pytest

from otcal.config.mixture import DensityStep, EmConfig, FlowSpec, Pretraining
from otcal.mixture import em
from otcal.mixture.adaptation import AdaptedFlows
from otcal.mixture.composition import Prior, logits, perturbed
from otcal.mixture.flows import Components
from otcal.mixture.pretraining import pretrain
from support.em_models import ENRICHED, PI, events_of
from support.shifted_flavours import FLAVOURS, draw, energy_distance

N = 3000
NOMINAL = perturbed(PI, 0.2, np.random.default_rng(21))


@pytest.fixture(scope="module")
def pretrained() -> Components:
    rng = np.random.default_rng(1)
    train, validation = ([draw(f, n, rng, False) for f in range(3)] for n in (4000, 1000))
    spec = Pretraining(steps=200, batch=512, learning_rate=5e-3)
    flow = FlowSpec(hidden=(16, 16), bins=6)
    return pretrain(train, validation, FLAVOURS, flow, spec, seed=1)[0]


def extract(pretrained: Components, expansion: bool) -> tuple[em.Fit, Components]:
    rng = np.random.default_rng(2)
    regions = []
    for row in PI:
        counts = np.round(row * N).astype(int)
        regions.append(np.concatenate([draw(f, n, rng, True) for f, n in enumerate(counts)]))
    events = events_of(regions, held_out=0.1)
    spec = DensityStep(batch=512, learning_rate=2e-3, averaging=0.95)
    options = EmConfig(expansion=expansion, max_iterations=12, density=spec)
    model = AdaptedFlows(pretrained, spec, seed=3)
    prior = Prior.around(NOMINAL, ENRICHED, 0.3)
    start = perturbed(NOMINAL, 0.2, np.random.default_rng(4))
    return em.fit(
        events, model, prior, start, ENRICHED, options, flavours=FLAVOURS
    ), model.components


@pytest.mark.parametrize("expansion", [False, True])
def test_extracted_densities_are_those_of_the_data(pretrained: Components, expansion: bool) -> None:
    fit, components = extract(pretrained, expansion)
    for f in range(3):
        truth = draw(f, 2500, np.random.default_rng(50 + f), True)
        simulated = draw(f, 2500, np.random.default_rng(60 + f), False)
        before = energy_distance(simulated, truth)
        after = energy_distance(components.sample(f, 2500, seed=1), truth)
        assert before > 0.03
        assert after < 0.2 * before
    # Log-ratios of background to signal: truth within two widths of the prior, all of them.
    shift = logits(fit.pi) - logits(PI)
    precision = Prior.around(PI, ENRICHED, 0.3).precision
    distance = np.einsum("ri,rij,rj->r", shift, precision, shift)
    assert (distance < 2 * 2.0**2).all()
    objectives = [row["objective"] for row in fit.history]
    assert objectives[-1] == max(objectives)
    held_out = [row["held_out"] for row in fit.history]
    assert max(held_out) > held_out[0] + 0.04
    assert held_out[-1] - held_out[0] > 0.95 * (max(held_out) - held_out[0])
    assert fit.history[-1]["imbalance"] < 0.005
