"""Networks for 28x28 grey images."""

import torch

from hauberk import models


def test_smallcnn_drops_out_in_training_only():
    model, x = models.SmallCNN(), torch.rand(2, 1, 28, 28)
    assert not torch.equal(model.train()(x), model(x))
    assert torch.equal(model.eval()(x), model(x))


def test_lenet5_of_mma_training():
    model = models.LeNet5Wide().eval()
    assert model.fc1.out_features == 1024
    assert model(torch.rand(2, 1, 28, 28)).shape == (2, 10)
