"""What every kind of place is asked for: a folder, memory, a local S3 behind HTTP."""

import pytest

from sweeper.storage.base import SetAside, StoreError
from sweeper.storage.folder import Folder


def test_what_is_put_is_read_with_a_tag_that_another_content_does_not_have(place):
    file = place / "sweeps" / "one" / "sweep.json"
    assert not file.is_file()
    with pytest.raises(FileNotFoundError):
        file.read_tagged()
    file.put(b"first")
    content, tag = file.read_tagged()
    file.put(b"second")
    assert (content, file.read_text(), file.read_bytes()) == (b"first", "second", b"second")
    assert file.read_tagged()[1] != tag
    file.remove()
    file.remove()
    assert not file.is_file()


def test_names_are_those_directly_below_and_none_where_nothing_is(place):
    assert (place / "claims").names() == [] and (place / "sweeps").folders_with("sweep.json") == []
    for name in ("b", "a"):
        (place / "claims" / name).touch()
        (place / "sweeps" / name / "sweep.json").put(b"{}")
    (place / "sweeps" / "c" / "other.json").put(b"{}")
    (place / "claims" / "owners" / "x").touch()
    assert {"a", "b"} <= set((place / "claims").names()) <= {"a", "b", "owners"}
    assert (place / "sweeps").folders_with("sweep.json") == ["a", "b"]


def test_only_what_was_seen_is_set_aside(place):
    file, target = place / "failures" / "x.json", place / "damaged" / "x.json"
    file.put(b"bad")
    _, seen = file.read_tagged()
    file.put(b"good")
    assert file.set_aside(target, "damaged", seen) is SetAside.REPLACED
    assert file.read_bytes() == b"good" and not target.is_file()
    assert file.set_aside(target, "damaged", file.read_tagged()[1]) is SetAside.MOVED
    assert not file.is_file() and target.read_bytes() == b"good"
    assert (place / "damaged" / "x.json.reason.txt").read_text() == "failures/x.json\ndamaged\n"
    assert file.set_aside(target, "damaged", seen) is SetAside.GONE


def test_a_journal_keeps_the_order_and_is_read_by_others(place):
    journal = (place / "sweeps" / "one" / "rungs.jsonl").journal()
    assert not journal.exists() and journal.entries() == []
    journal.mend()
    for line in (b"1\n", b"2\n"):
        journal.append(line)
    other = (place / "sweeps" / "one" / "rungs.jsonl").journal()
    assert other.exists() and [entry.strip() for entry in other.entries()] == [b"1", b"2"]
    other.append(b"3\n")
    assert [entry.strip() for entry in journal.entries()] == [b"1", b"2", b"3"]


def test_half_a_line_of_a_killed_writer_is_not_read_and_gives_way(tmp_path):
    file = Folder(tmp_path) / "rungs.jsonl"
    file.write_bytes(b"1\n2")
    assert file.journal().entries() == [b"1"]
    file.journal().append(b"3\n")
    assert file.read_bytes() == b"1\n3\n"
    file.write_bytes(b"1\n2")
    file.journal().mend()
    assert file.read_bytes() == b"1\n"


def test_a_sign_of_life_changes_with_every_renewal_and_ends_with_its_card(place):
    card = place / "claims" / "owners" / "me"
    card.touch()
    seen = {card.sign_of_life()[1]}
    for beat in range(3):
        assert card.renew(f"beat {beat}".encode())
        seen.add(card.sign_of_life()[1])
    assert len(seen) == 4
    card.remove()
    assert not card.renew(b"late") and not card.is_file()


def test_a_lock_is_held_by_one_and_says_by_whom(place):
    mine, other = (place / "sweeps" / "one").lock(), (place / "sweeps" / "one").lock()
    assert mine.holder() == "" and not mine.is_held(0.1)
    assert mine.take("me")
    assert not other.take("other") and other.is_held(5.0) and other.holder() == "me"
    mine.release()
    assert other.take("other") and mine.holder() == "other"
    other.release()


def test_a_folder_that_refuses_says_what_where_and_why(tmp_path):
    (tmp_path / "file").write_text("")
    below = Folder(tmp_path / "file") / "x"
    for refused in (lambda: below.put(b""), below.touch, lambda: below.journal().append(b"\n"), below.parent.make):
        with pytest.raises(StoreError, match=r"^storage: cannot write to .*file.*: (Not a directory|File exists)$"):
            refused()
