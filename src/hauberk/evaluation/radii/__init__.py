"""How far the nearest adversarial example is: :func:`hauberk.radius`."""
