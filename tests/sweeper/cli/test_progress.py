"""What a launch shows while it runs."""

from search_spaces.spec import Limits
from sweeper.cli.progress import Progress
from tests.sweeper.launch.fake_launch import FakeLaunch
from tests.sweeper.stages.forests import recipe


def test_of_equal_arms_one_with_a_single_seed_so_far_does_not_lead():
    """K=8 is lucky with its first seed; K=4 is whole."""
    arms = [recipe(options=options, seed=seed) for options in (4, 8, 6) for seed in range(3)]

    def accuracy(one, epoch):
        lucky = {8: [0.99], 6: [0.95, 0.96]}.get(one.options, [0.9, 0.91, 0.92])
        return lucky[one.seed]

    launch = FakeLaunch(arms, accuracy=accuracy)
    progress = Progress(launch)
    launch.watchers.append(progress)
    orders = [launch.next_order().stage for _ in arms]
    for stage in orders:
        if (stage["recipe"]["options"], stage["recipe"]["seed"]) not in [(8, 1), (8, 2), (6, 2)]:
            launch.finish(stage["key"])
    shown = [str(arm) for arm in progress.stand().best]
    assert [arm.partition(" ")[0] for arm in shown] == ["K=4", "K=6", "K=8"]
    assert [arm[arm.index("(") :] for arm in shown] == ["(n = 3)", "(2 of 3)", "(1 of 3)"]


class Points:
    """A search that has not asked for three points of two seeds yet."""

    exhausted = False

    def trials_left(self):
        return 6, 24

    def unsettled(self):
        return []

    def number(self, arm):
        return None

    def cell(self, arm):
        return ""


def test_what_a_search_has_not_asked_for_yet_is_left_as_far_as_limits_allow():
    def standing(**limits):
        return Progress(FakeLaunch([recipe(), recipe(seed=1)], Limits(**limits), search=Points())).standing

    free = standing()
    assert (free.epochs_left, free.epochs) == (8 + 24, 8 + 24)
    assert free.counts().endswith(", 24 epochs not asked for yet")
    assert standing(trials=3).epochs_left == 8 + 24 * 3 // 6
    assert standing(epochs=20).epochs_left == 8 + 20
    done = Progress(FakeLaunch([recipe()])).standing
    assert (done.epochs_left, done.unasked) == (4, 0)
