"""One perturbation against several domains: :func:`hauberk.minmax`."""
