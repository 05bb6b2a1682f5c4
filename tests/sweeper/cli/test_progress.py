"""What a launch shows while it runs."""

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
