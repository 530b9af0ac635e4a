"""Optimal-transport calibration of jet taggers."""
