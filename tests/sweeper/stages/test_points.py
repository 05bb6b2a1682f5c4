"""The keys of stages: of many seeds at once the same as by hashing all that led to each point, one by one."""

from hypothesis import given
from hypothesis import strategies as st

from sweeper.stages.points import ArmPoints, earlier_points, point_key, points
from tests.sweeper.stages.forests import any_recipe, recipe
from trainers.hashing import content_hash
from trainers.numerics import NUMERICS_VERSION
from trainers.recipe.stretches import earlier_stretches, stretches

seeds = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4)


def hashed(common, parts, digest, sources):
    """The oracle: (lineage, key) of every point, each by the hash of a whole value."""
    apart = {"sources": sources} if sources else {}
    came_by = {"numerics": NUMERICS_VERSION, "data": digest, "common": common, **apart}
    found = []
    for part in parts:
        lineage = content_hash({"from": came_by, "phase": part.phase, "fields": part.fields})
        came_by = content_hash([lineage, part.end])
        found.append((lineage, came_by))
    return found


def told(way):
    return [(point.lineage, point.key) for point in way]


@given(any_recipe(), seeds, st.sampled_from(["", "f" * 64]))
def test_the_points_of_an_arm_are_those_of_each_of_its_recipes_alone(first, numbers, sources):
    arm = ArmPoints(first, "digest", sources)
    for seed in numbers:
        one = first.with_seed(seed)
        wanted = hashed(one.training_fields(), stretches(one), "digest", sources)
        assert told(arm.of(one)) == told(points(one, "digest", sources)) == wanted
        *_, oldest = arm.earlier_of(one)
        assert arm.earlier_of(one) == earlier_points(one, "digest", sources)
        assert told(oldest) == hashed(one.common_fields(), earlier_stretches(one), "digest", sources)


def test_what_was_told_apart_by_its_evaluation_is_found_under_that_key_too():
    first = recipe(selection="probabilistic", options=2, evaluation="argmax")
    for one in (first, first.with_seed(3)):
        by_evaluation, _ = ArmPoints(first, "d").earlier_of(one)
        assert told(by_evaluation) == hashed(one.fields_apart_by_evaluation(), stretches(one), "d", "")


@given(st.text("0123456789abcdef", min_size=64, max_size=64), st.integers(0, 100_000))
def test_the_key_of_a_point_is_the_hash_of_its_lineage_and_epoch(lineage, epoch):
    assert point_key(lineage, epoch) == content_hash([lineage, epoch])
