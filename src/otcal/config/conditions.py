"""What a map may depend on without moving it."""

from __future__ import annotations

from typing import Literal

Condition = Literal["jet_pt", "jet_eta", "jet_phi", "jet_energy", "jet_nparticles"]
"""Columns of jets that every file of latents has."""

ScoreCondition = Literal["jet_pt", "jet_eta"]
"""Columns of jets that every file of scores has."""
