"""Proofs for small ReLU networks: the exact radius of every example, or bounds on it."""

from hauberk.exact.solve import radius

__all__ = ["radius"]
