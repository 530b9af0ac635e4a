"""Optimal-transport calibration of jet taggers."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Imported on first use, by name: neither a simulation nor its fingerprint needs the map's code.
_PUBLIC = {"fit_map": "otcal.transport.api", "TransportMap": "otcal.transport.fitted"}

__all__ = ["TransportMap", "fit_map"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'otcal' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)
