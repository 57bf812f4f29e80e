"""What a training does with a minibatch."""
