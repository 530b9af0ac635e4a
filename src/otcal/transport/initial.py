"""Fitted maps as starting points of other fits."""

from __future__ import annotations

import copy

from otcal.runtime.errors import InputError
from otcal.transport.conditional import ConditionalPotential
from otcal.transport.convex import ConvexPotential
from otcal.transport.fitted import TransportMap


def starting_network(
    initial: TransportMap, method: str, features: int, conditions: int = 0
) -> ConvexPotential | ConditionalPotential:
    """Return a copy of the network of a map that a fit can start from.

    Parameters
    ----------
    initial
        Fitted map.
    method, features, conditions
        Method of the fit, and numbers of features and conditions of its samples.

    Raises
    ------
    InputError
        When the map isn't one convex network, or one of another method or of other features.
    """
    kinds = [type(potential) for potential in initial.potentials]
    if method != "convex" or kinds not in ([ConvexPotential], [ConditionalPotential]):
        raise InputError(
            "fit_map",
            "initial",
            f"is a map of {', '.join(kind.__name__ for kind in kinds)}, the method is {method}",
            "Start method convex from a map which that method fitted, or start anew",
        )
    if features != initial.dimension:
        raise InputError(
            "fit_map",
            "initial",
            f"is a map of {initial.dimension} features, the source has {features}",
            "Give samples of the same features",
        )
    if conditions != initial.conditions:
        raise InputError(
            "fit_map",
            "initial",
            f"is a map with {initial.conditions} conditions, the samples have {conditions}",
            "Give samples with the same conditions",
        )
    network = copy.deepcopy(initial.potentials[0])
    assert isinstance(network, ConvexPotential | ConditionalPotential)
    return network
