"""What a training reports while it runs."""

from helpers.training import Clean, blobs, net

from hauberk.train.fit import fit


def test_progress_and_epochs_are_reported():
    x, y = blobs()
    events, records = [], []
    found = fit(
        net(), (x, y), Clean(), epochs=2, minibatch=20, progress=events.append,
        on_epoch=records.append,
    )  # fmt: skip
    assert [round(e.done, 6) for e in events] == [round((i + 1) / 6, 6) for i in range(6)]
    assert [e.forwards for e in events] == [20, 40, 50, 70, 90, 100]
    assert records == found.history
