"""What is taken waits for what was taken before."""

from client.pacs.rate import Rate


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_units_come_at_the_rate() -> None:
    clock = Clock()
    rate = Rate(4.0, clock=clock, sleep=clock.sleep)
    for _ in range(9):
        rate.take(2)
    assert clock.now == 100.0 + 8 * 2 / 4


def test_time_that_passed_unused_is_not_saved_up() -> None:
    clock = Clock()
    rate = Rate(1.0, clock=clock, sleep=clock.sleep)
    rate.take(1)
    clock.sleep(60)
    rate.take(1)
    rate.take(1)
    assert clock.now == 161.0


def test_without_a_rate_nobody_waits() -> None:
    clock = Clock()
    Rate(None, clock=clock, sleep=clock.sleep).take(10**12)
    assert clock.now == 100.0
