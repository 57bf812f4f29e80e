"""What ``hauberk train`` prints after each epoch."""

from hauberk.cli.train_report import epoch_lines


def record(epoch, **more):
    seconds = {"seconds_attack": 1.0, "seconds_training": 1.0, "seconds_validation": 0.0}
    return {
        "epoch": epoch, "loss": 0.5, "learning_rate": 1e-3, "forwards": 1500, "backwards": 500,
        **seconds, **more,
    }  # fmt: skip


def test_a_line_an_epoch():
    lines = []
    line = epoch_lines(2, lines.append)
    line(record(1, valid_clean=0.9, valid_margin=0.25))
    line(record(2))
    assert lines[0].startswith("epoch 1/2, loss 0.5, rate 0.001, clean 90.0%, margin 0.250, 2,000")
    assert lines[0].endswith(" left")
    assert lines[1].endswith("2,000 passes, done")
