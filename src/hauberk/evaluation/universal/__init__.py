"""One perturbation for a whole data set: :func:`hauberk.universal`."""
