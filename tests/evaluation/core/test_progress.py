from hauberk.evaluation.core.progress import Progress, Reporter


class Counted:
    forwards = backwards = 0


def test_progress_adds_up_shares_and_passes():
    seen, victim = [], Counted()
    victim.forwards = 5  # spent before
    reporter = Reporter(seen.append, [victim], 4.0)
    inside = reporter.within(3.0, "search")
    inside(1, 2)
    victim.forwards = 12
    reporter.finish(3.0, "search")
    reporter.finish(1.0, "end")
    assert seen == [
        Progress(0.375, "search", 0, 0), Progress(0.75, "search", 7, 0), Progress(1.0, "end", 7, 0),
    ]  # fmt: skip


def test_work_beyond_the_total_is_still_one():
    seen = []
    Reporter(seen.append, [], 1.0).finish(1.5, "long")
    assert [event.done for event in seen] == [1.0]
    Reporter(None, [], 1.0).finish(1.0, "told to nobody")
