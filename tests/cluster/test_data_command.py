"""`sweeper data`: files come from a mirror, are verified, and nothing that is there is touched."""

import gzip
import shutil
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sweeper.cli.main import main


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def mirror(tmp_path):
    """A web server on an empty folder: the folder, and its address."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def files_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_mirror_that_has_other_files_is_not_believed_and_leaves_nothing(mirror, tmp_path, capsys):
    folder, address = mirror
    (folder / "mnist").mkdir()
    for name in ("train-images", "train-labels", "t10k-images", "t10k-labels"):
        kind = "idx3" if "images" in name else "idx1"
        (folder / "mnist" / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(b"not what was published"))
    data = tmp_path / "data"
    assert main(["data", "fetch", "mnist", "--data-dir", str(data), "--mirror", address]) == 2
    error = capsys.readouterr().err
    assert "lacks MNIST/raw/train-images-idx3-ubyte.gz of mnist, and the download failed" in error
    assert files_in(data) == set()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fetch", "mnits"], "'mnits' is not one of mnist, fashion_mnist, cifar10 (did you mean mnist?)"),
        (["fetch", "digits"], "'digits' is not one of"),
        (["fetch"], "name those to fetch, of mnist, fashion_mnist, cifar10"),
    ],
)
def test_what_cannot_be_fetched_is_told(arguments, said, tmp_path, capsys):
    assert main(["data", *arguments, "--data-dir", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


def test_a_check_says_what_is_missing_and_fails(tmp_path, capsys):
    assert main(["data", "check", "--data-dir", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert f"{tmp_path} lacks MNIST/raw/train-images-idx3-ubyte.gz and 3 more of mnist" in out
    assert out.count("incomplete") == 3


def test_the_published_files_are_fetched_verified_and_then_left_alone(mirror, data_dir, tmp_path, capsys):
    folder, address = mirror
    shutil.copytree(data_dir / "MNIST" / "raw", folder / "mnist")
    if not list((folder / "mnist").glob("*.gz")):
        pytest.skip("the folder with real data has no files as they were published")
    (folder / "cifar10").mkdir()
    data = tmp_path / "data"
    fetch = ["data", "fetch", "mnist", "--data-dir", str(data), "--mirror", address]
    assert main(fetch) == 0
    assert f"mnist: downloaded to {data}, every file as published" in capsys.readouterr().out
    shutil.rmtree(folder / "mnist")
    assert main(fetch) == 0
    assert f"mnist: already in {data}" in capsys.readouterr().out
    assert main(["data", "check", "mnist", "--data-dir", str(data)]) == 0
    with tarfile.open(folder / "cifar10" / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(data_dir / "cifar-10-batches-py", "cifar-10-batches-py")
    # Packed by others: the files are those that were published, the archive is not, so torchvision refuses it.
    assert main(["data", "fetch", "cifar10", "--data-dir", str(data), "--mirror", address]) == 2
    assert "cifar10, and the download failed" in capsys.readouterr().err
    assert not (data / "cifar-10-batches-py").exists()
