"""Images that cannot be decoded: named before anything starts, not tried again, and forgotten once they are mended."""

import numpy as np
import pytest
from PIL import Image

from sweeper.cli.commands import launch as launching
from sweeper.cli.main import main
from trainers.data import image_check

SPEC = """\
name: photographs
recipe: {network: lenet, width: 0.1, dataset: image_folder, image_size: 16, validation_examples: 2, method: learned}
budget_epochs: 1
"""


@pytest.fixture
def images(tmp_path, monkeypatch):
    """A folder of four training images and two test images, of which no check knows yet."""
    monkeypatch.setattr(image_check, "cache_folder", lambda: tmp_path)
    folder = tmp_path / "images"
    for name in ("train/ant/0", "train/ant/1", "train/bee/0", "train/bee/1", "val/ant/0", "val/bee/0"):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((16, 16, 3), len(str(path)) % 200, np.uint8)).save(path)
    return folder


def test_a_damaged_image_is_named_at_once_and_is_no_fault_to_be_tried_again(images, storage, capsys, monkeypatch):
    spec, damaged = images.parent / "photographs.yaml", images / "train/bee/1.png"
    spec.write_text(SPEC)
    check = ["data", "check", "image_folder", "--data-dir", str(images)]
    launch = ["launch", str(spec), "--storage", str(storage), "--local", "--data-dir", str(images)]
    assert main(check) == 0
    assert "4 training and 2 test images of 2 classes, all of which can be decoded" in capsys.readouterr().out
    content = damaged.read_bytes()
    damaged.write_bytes(bytes(len(content)))
    reason = f"data_dir: {damaged} cannot be decoded (it is no image of a format that is known)"
    assert main(check) == 1
    assert f"image_folder  damaged  {reason}" in capsys.readouterr().out
    assert main(launch) == 2
    assert capsys.readouterr().err.startswith(f"sweeper: error: {reason}")
    assert not (storage / "sweeps/photographs/sweep.json").exists()
    with monkeypatch.context() as breaks_later:
        breaks_later.setattr(launching, "_check_images", lambda data_dir: None)
        assert main(launch) == 1
    out = capsys.readouterr().out
    assert f"FAILED  damaged data: {reason}" in out
    assert "will be tried again" not in out
    damaged.write_bytes(content)
    assert main(launch) == 0


def test_validation_examples_are_held_against_the_images_of_a_folder(images, storage, capsys):
    spec = images.parent / "photographs.yaml"
    spec.write_text(SPEC.replace("validation_examples: 2", "validation_examples: 4"))
    for command in (["plan"], ["launch", "--local"]):
        assert main([*command, str(spec), "--storage", str(storage), "--data-dir", str(images)]) == 2
        assert "validation_examples: must be below 4, the number of training images" in capsys.readouterr().err
