"""Accuracy of transport-map solvers on problems whose optimal map is known."""
