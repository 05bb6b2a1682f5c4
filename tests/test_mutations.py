"""The table of guards keeps up with the code and with docs/faults.md; `python -m tests.mutations` tries it out."""

import re
import shutil

import pytest

from tests.mutations import MUTATIONS, ROOT

LINES = [line for line in (ROOT / "docs" / "faults.md").read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
FAULTS = [line.split("|")[1].strip() for line in LINES[1:]]


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_guard_that_can_be_taken_out_is_there_and_its_test_too(name, tmp_path):
    mutation = MUTATIONS[name]
    target = tmp_path / mutation.file
    target.parent.mkdir(parents=True)
    shutil.copy(ROOT / mutation.file, target)
    mutation.apply(tmp_path)
    compile(target.read_text(encoding="utf-8"), mutation.file, "exec")
    file, _, test = mutation.test.partition("::")
    assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_fault_has_a_guard_that_can_be_taken_out():
    assert {mutation.fault for mutation in MUTATIONS.values()} == set(FAULTS)
