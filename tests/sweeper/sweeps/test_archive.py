"""Whole sweeps in one file, brought into other storages."""

import json
import zipfile
from pathlib import Path

import pytest

from sweeper.launch.view import SweepView
from sweeper.records.bucket_store import open_store
from sweeper.records.stage_record import canonical, sha256
from sweeper.records.sweep_folder import SweepFolder
from sweeper.sweeps.archive import Archive, write_archive
from sweeper.sweeps.kept import KeptSweep
from sweeper.sweeps.references import stages_of
from sweeper.sweeps.removal import Removal
from sweeper.sweeps.rename import rename
from tests.sweeper.sweeps.launched import SECOND, experiments, killed_at, said, stages_in, trials_of, wrong
from trainers.errors import InvalidInput


@pytest.fixture(scope="module")
def archive(launched, tmp_path_factory) -> Path:
    """The sweep tiny as a file."""
    path = tmp_path_factory.mktemp("archive") / "tiny.zip"
    folder = SweepFolder(launched, "tiny")
    write_archive(path, KeptSweep.read(folder), stages_of(SweepView(folder)), open_store(launched))
    return path


def rewritten(archive: Path, to: Path, change) -> Path:
    """A copy of the file, whose parts (by name) were changed, and all hashes of the file made to agree."""
    with zipfile.ZipFile(archive) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    manifest = json.loads(parts.pop("manifest.json"))
    change(parts, manifest)
    manifest["sha256_of"] = {name: sha256(content) for name, content in parts.items()}
    del manifest["sha256"]
    with zipfile.ZipFile(to, "w") as new:
        for name, content in {
            **parts, "manifest.json": canonical({**manifest, "sha256": sha256(canonical(manifest))})
        }.items():  # fmt: skip
            new.writestr(name, content)
    return to


def test_a_sweep_goes_into_another_storage_whole(capsys, launched, storage, tmp_path):
    file = tmp_path / "tiny.zip"
    code, out, _ = said(capsys, "export", "--sweep", "tiny", "-o", file, "--storage", launched)
    assert code == 0 and out.startswith(f"tiny: 2 versions, 12 stages: {file} (")
    code, out, _ = said(capsys, "import", file, "--storage", storage)
    assert code == 0 and out.startswith("tiny: every hash is right; 12 stages brought in.\n")
    assert "MLflow shows all 4 trials of tiny as they are." in out
    for version in (1, 2):
        flags = ("--version", version)
        assert trials_of(capsys, storage, "tiny", *flags) == trials_of(capsys, launched, "tiny", *flags)
    history = [said(capsys, "history", "tiny", "--storage", place)[1] for place in (launched, storage)]
    assert history[0] == history[1] and experiments(storage)["tiny"] == 1 + 4
    for place, out in ((launched, "here"), (storage, "there")):
        assert said(capsys, "export", "tiny", "-o", tmp_path / out, "--storage", place)[0] == 0
    tickets = [{path.name: path.read_bytes() for path in (tmp_path / out).iterdir()} for out in ("here", "there")]
    assert len(tickets[0]) == 4 and tickets[0] == tickets[1]
    assert "sweep 'tiny' in" in wrong(capsys, "import", file, "--storage", storage)


def test_a_sweep_without_states_is_small_and_its_results_count_as_stored(capsys, own, archive, storage, tmp_path):
    file, spec = tmp_path / "tiny.zip", tmp_path / "tiny.yaml"
    code, out, _ = said(capsys, "export", "--sweep", "tiny", "--without-states", "-o", file, "--storage", own)
    assert code == 0 and out.startswith(f"tiny: 2 versions, 12 stages without their states: {file} (")
    assert file.stat().st_size < archive.stat().st_size / 2
    assert said(capsys, "import", file, "--storage", storage)[0] == 0
    assert trials_of(capsys, storage, "tiny") == trials_of(capsys, own, "tiny")
    spec.write_text(SECOND)
    assert "left to train: 0 epochs" in said(capsys, "plan", spec, "--storage", storage)[1]
    said_so = wrong(capsys, "export", "tiny", "-o", tmp_path / "tickets", "--storage", storage)
    assert "was left out when its sweep was exported" in said_so
    again = tmp_path / "again.zip"
    assert said(capsys, "export", "--sweep", "tiny", "-o", again, "--storage", storage)[0] == 0
    # Another split goes on from a slot phase, which has to be trained once more: and then has what it had.
    spec.write_text(SECOND.replace("finetune_epochs: 1", "finetune_epochs: 2").replace("[2, 8]", "[8]"))
    found = []
    for place in (storage, own):
        assert said(capsys, "launch", spec, "--storage", place, "--local", "--yes")[0] == 0
        found.append([trial["test_accuracy"] for trial in trials_of(capsys, place, "tiny")])
    assert found[0] == found[1]


def test_states_are_left_out_of_whole_sweeps_alone(capsys, launched, tmp_path):
    assert wrong(capsys, "export", "tiny", "--without-states", "-o", tmp_path, "--storage", launched).startswith(
        "--without-states: goes with --sweep"
    )


def test_a_sweep_comes_under_another_name_beside_one_that_has_its_own(capsys, archive, own):
    stages = stages_in(own)
    assert said(capsys, "import", archive, "--sweep", "theirs", "--storage", own)[0] == 0
    assert stages_in(own) == stages, "what is there already is not stored twice"
    assert trials_of(capsys, own, "theirs") == trials_of(capsys, own, "tiny")
    assert experiments(own)["theirs"] == 1 + 4


def test_no_secret_and_no_path_of_this_machine_goes_along(own, tmp_path):
    folder = SweepFolder(own, "tiny")
    file = folder.read()
    file.tracking, file.data_dir = "postgresql://me:secret@host/mlflow", "/home/me/data"
    folder.write(file)
    write_archive(tmp_path / "f", KeptSweep.read(folder), [], open_store(own))
    with zipfile.ZipFile(tmp_path / "f") as written:
        text = b"".join(map(written.read, written.namelist()))
    assert b"secret" not in text and b"/home/me" not in text


def test_a_file_is_damaged_wherever_it_is_cut_or_a_part_changed(capsys, archive, storage, tmp_path):
    content = archive.read_bytes()
    damaged = tmp_path / "damaged.zip"
    with zipfile.ZipFile(archive) as parts:  # a header has 30 bytes and the name, and dates that mean nothing
        places = [part.header_offset + 30 + len(part.filename) + part.compress_size // 2 for part in parts.infolist()]
    for change in [content[:place] for place in places[::7]] + [
        content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :] for place in places
    ]:
        damaged.write_bytes(change)
        message = wrong(capsys, "import", damaged, "--storage", storage)
        assert message.startswith(f"{damaged}: damaged: ") and message.endswith("; nothing of it was brought in")
    assert not SweepFolder.names(storage) and not (storage / "stages").exists()


def test_bytes_around_the_parts_are_damage_or_mean_nothing(archive, tmp_path):
    """Those of a header, of its entry in the list at the end, and of the end; dates, say, mean nothing."""
    content, damaged = archive.read_bytes(), tmp_path / "damaged.zip"
    with zipfile.ZipFile(archive) as parts:
        first, end = parts.infolist()[0], parts.start_dir
    places = [*range(30 + len(first.filename)), *range(end, end + 46 + len(first.filename)), *range(-22, 0)]
    refused = 0
    for place in places:
        for change in (0x01, 0x55):
            changed = bytearray(content)
            changed[place] ^= change
            damaged.write_bytes(changed)
            try:
                Archive(damaged).close()  # which compares all parts with their hashes
            except InvalidInput as error:
                assert str(error).startswith(f"{damaged}: damaged: ")
                refused += 1
    assert refused > len(places) / 2


def test_a_part_that_was_exchanged_is_told_by_its_hash(capsys, archive, storage, tmp_path):
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(tmp_path / "other.zip", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"Two options.", b"Ten options."))
    message = wrong(capsys, "import", tmp_path / "other.zip", "--storage", storage)
    assert "damaged: sweep/spec.yaml does not match its SHA-256; nothing" in message


def spoil_state(parts, manifest):
    name = next(name for name in parts if name.endswith("state.safetensors"))
    parts[name] = parts[name][:-1] + b"?"


def spoil_record(parts, manifest):
    name = next(name for name in parts if name.endswith("record.json"))
    parts[name] = parts[name].replace(b'"test_accuracy":0', b'"test_accuracy":1')


def swap_stages(parts, manifest):
    names = [name for name in parts if name.endswith("record.json")][:2]
    parts[names[0]], parts[names[1]] = parts[names[1]], parts[names[0]]


def add_stranger(parts, manifest):
    parts["sweep/../../escaped"] = b"x"


def lose_spec(parts, manifest):
    del parts["sweep/spec.yaml"]


@pytest.mark.parametrize("change", [spoil_state, spoil_record, swap_stages, add_stranger, lose_spec])
def test_hashes_that_agree_do_not_hide_what_is_not_so(capsys, archive, storage, tmp_path, change):
    file = rewritten(archive, tmp_path / "file.zip", change)
    assert ": damaged: " in wrong(capsys, "import", file, "--storage", storage)
    assert not SweepFolder.names(storage)


def test_a_file_of_a_newer_format_is_told(capsys, archive, storage, tmp_path):
    def newer(parts, manifest):
        manifest.update(format=2, written_by="9.0.0")

    message = wrong(capsys, "import", rewritten(archive, tmp_path / "f.zip", newer), "--storage", storage)
    assert message.endswith("format: 2 was written by a newer version (9.0.0), and this one reads up to 1")


def test_what_export_and_import_are_asked_for_must_be_one_thing(capsys, archive, launched, tmp_path):
    (tmp_path / "one.json").write_text("{}")
    place = ("--storage", launched)
    assert wrong(capsys, "export", "-o", "x", *place).startswith("sweep: name the one whose tickets are wanted, or")
    assert wrong(capsys, "export", "tiny", "--sweep", "tiny", "-o", "x", *place).startswith("sweep: name the one")
    assert "becomes a file, such as" in wrong(capsys, "export", "--sweep", "tiny", "-o", tmp_path, *place)
    assert "records need the name" in wrong(capsys, "import", tmp_path / "one.json", *place)
    assert "comes alone" in wrong(capsys, "import", archive, tmp_path / "one.json", *place)
    assert "cannot be read: No such file" in wrong(capsys, "import", tmp_path / "none.zip", *place)


def test_an_import_that_is_killed_is_finished_by_the_same_again(capsys, archive, storage, tmp_path):
    command = ("import", archive, "--storage", storage)
    killed_at("sweeper.records.sweep_folder", "SweepFolder.write", tmp_path / "out", *command)
    assert not SweepFolder.names(storage) and len(stages_in(storage)) == 12
    code, out, _ = said(capsys, *command)
    assert code == 0 and "0 stages brought in; 12 stages of it were there already." in out
    assert len(trials_of(capsys, storage, "tiny")) == 4


def test_a_sweep_is_moved_renamed_and_deleted_in_any_place(launched, place, tmp_path):
    """A search, whose journal lies otherwise in a bucket than in a folder."""
    folder = SweepFolder(launched, "searched")
    view = SweepView(folder)
    path = tmp_path / "searched.zip"
    write_archive(path, KeptSweep.read(folder), stages_of(view), open_store(launched))
    opened = Archive(path)
    opened.bring_in(open_store(place))
    file = opened.sweep.file
    file.tracking = f"sqlite:///{tmp_path}/nothing.db"
    opened.sweep.write(SweepFolder(place, "searched"))
    found = rename(place, "searched", "found")
    assert SweepFolder.names(place) == ["found"]
    there = SweepView(found)
    assert [result.finals for result in there.results] == [result.finals for result in view.results]
    assert there.state == "completed" and len(there.results) == 4
    again = KeptSweep.read(found)
    assert again.files["search.log"] == KeptSweep.read(folder).files["search.log"] or place.on_disk is None
    with found.lock():
        gone = Removal(found).carry_out()
    assert len(gone) == 4 and not SweepFolder.names(place) and not (found.path / "spec.yaml").is_file()
