"""How many examples resist every attack: :func:`hauberk.evaluate`."""
