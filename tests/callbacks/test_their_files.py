"""Files of Checkpoint and CSVLogger: links, long names, full disks, folders that vanish during a fit."""
import errno
import io
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from ldl_cy import Sequential, layers
from ldl_cy.callbacks import Checkpoint, CSVLogger

X = np.random.default_rng(0).standard_normal((40, 3))
posix = pytest.mark.skipif(os.name != "posix", reason="links, pipes and devices as POSIX has them")
fit_options = dict(loss="squared_error", optimizer="adam")


def made():
    return Sequential([layers.Dense(2), layers.Dense(1)], random_state=1)


def fit(model, *callbacks, epochs=4):
    return model.fit(X, X[:, :1], callbacks=list(callbacks), epochs=epochs, **fit_options)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def kinds(folder):
    return [lambda: Checkpoint(folder / "m"), lambda: CSVLogger(folder / "m")]


def usable(model, epoch):
    """The model has whole epochs, and another fit continues."""
    assert model.epoch == epoch and np.isfinite(model.predict(X)).all()
    fit(model, epochs=1)
    assert model.epoch == epoch + 1


@posix
def test_checkpoints_through_a_link(tmp_path):
    """The newest is where the link leads, the older ones are files beside the link."""
    (tmp_path / "here").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "here" / "m").symlink_to("../store/m")
    fit(made(), Checkpoint(tmp_path / "here" / "m"))
    assert files(tmp_path / "here") == ["m", "m-000002", "m-000003"] and files(tmp_path / "store") == ["m"]
    assert (tmp_path / "here" / "m").is_symlink()
    assert not any((tmp_path / "here" / name).is_symlink() for name in ("m-000002", "m-000003"))
    for name, epoch in (("m", 4), ("m-000002", 2), ("m-000003", 3)):
        assert Sequential.load(tmp_path / "here" / name).epoch == epoch


@posix
def test_a_log_through_a_link(tmp_path):
    (tmp_path / "log").symlink_to("real.csv")
    fit(made(), CSVLogger(tmp_path / "log"))
    assert (tmp_path / "log").is_symlink() and (tmp_path / "real.csv").read_text().count("\n") == 5


@posix
def test_where_links_lead_to_nothing(tmp_path):
    (tmp_path / "m").symlink_to("nowhere/m")
    for make in kinds(tmp_path):
        with pytest.raises(ValueError, match="path must be in a folder that exists"):
            fit(made(), make())
    (tmp_path / "m").unlink()
    (tmp_path / "m").symlink_to("m")
    for make in kinds(tmp_path):
        model = made()
        with pytest.raises(OSError) as raised:
            fit(model, make())
        assert raised.value.errno == errno.ELOOP and raised.value.filename == str(tmp_path / "m")
        assert model.epoch == 0


@pytest.mark.parametrize("length", [248, 249, 255, 256])
def test_long_names(length, tmp_path):
    fit(made(), Checkpoint(tmp_path / ("é" * 100), keep=2), CSVLogger(tmp_path / ("ö" * 100)))
    assert len(files(tmp_path)) == 3
    path = tmp_path / ("x" * length)
    if length == 256:
        for callback in (Checkpoint(path, keep=1), CSVLogger(path)):
            with pytest.raises(OSError) as raised:
                fit(made(), callback)
            assert raised.value.filename == str(path)
        return
    model = made()
    if length > 248:
        with pytest.raises(ValueError, match="Checkpoint: path must have a name that leaves room for the epoch"):
            fit(model, Checkpoint(path))
        assert model.epoch == 0
    fit(model, Checkpoint(path, keep=1 if length > 248 else 3))
    assert Sequential.load(path).epoch == 4
    fit(model, CSVLogger(path))
    assert path.read_text().count("\n") == 5


@pytest.mark.parametrize("kind", [Checkpoint, CSVLogger])
def test_no_paths(kind):
    for path in (None, 3, ["m"], io.BytesIO()):
        with pytest.raises(TypeError, match=f"^{kind.__name__}: path must be a path, got "):
            kind(path)
    for path in ("", "a\0b", b""):
        with pytest.raises(ValueError, match=f"^{kind.__name__}: path must be a path, got "):
            kind(path)
    with pytest.raises(ValueError, match=f"^{kind.__name__}: path must be a file, got the folder "):
        kind("m/")
    assert kind(b"m").path == kind("m").path


@posix
@pytest.mark.parametrize("kind", [Checkpoint, CSVLogger])
def test_pipes_that_nobody_reads(kind, tmp_path):
    os.mkfifo(tmp_path / "m")
    model = made()
    with pytest.raises((ValueError, OSError), match="m'"):
        fit(model, kind(tmp_path / "m"))
    assert model.epoch == 0


@posix
def test_a_log_into_a_device(capfd):
    fit(made(), CSVLogger("/dev/null"))
    model = made()
    with pytest.raises(OSError) as raised:
        fit(model, CSVLogger("/dev/full"))
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, "/dev/full")
    usable(model, 1)


@posix
@pytest.mark.parametrize("which", [0, 1], ids=["Checkpoint", "CSVLogger"])
def test_a_folder_that_vanishes(which, tmp_path):
    folder, model = tmp_path / "folder", made()
    folder.mkdir()

    def vanish(model, logs):
        if model.epoch == 3:
            shutil.rmtree(folder)

    callback = kinds(folder)[which]()
    with pytest.raises(FileNotFoundError) as raised:
        fit(model, vanish, callback)
    assert raised.value.filename == str(folder / "m") and str(folder / "m") in str(raised.value)
    usable(model, 3)
    folder.mkdir()
    fit(model, callback)
    assert (folder / "m").exists()


LIMITED = """
import resource, signal, sys
import numpy as np
from ldl_cy import Sequential, layers
from ldl_cy.callbacks import Checkpoint, CSVLogger
path, kind, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
X = np.ones((8, 3))
model = Sequential([layers.Dense(2), layers.Dense(1)], random_state=1)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def limited(model, logs):
    if model.epoch == 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
callback = {"Checkpoint": Checkpoint, "CSVLogger": CSVLogger}[kind](path)
for _ in range(2):
    try:
        model.fit(X, X[:, :1], loss="squared_error", epochs=5, callbacks=[limited, callback])
    except OSError as error:
        print(error.errno, error.filename, model.epoch, model.predict(X).shape)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


@posix
@pytest.mark.parametrize(("kind", "limit"), [("Checkpoint", 0), ("Checkpoint", 900), ("CSVLogger", 40)])
def test_a_file_that_cannot_grow(kind, limit, tmp_path):
    """The fit ends with an error that names the file; the model has the epoch, and the next fit continues."""
    path = tmp_path / "m"
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path), kind, str(limit)], cwd=tempfile.gettempdir(),
                          capture_output=True, text=True)
    assert done.stderr == "" and done.returncode == 0
    assert done.stdout == f"{errno.EFBIG} {path} 3 (8, 1)\n"
    if kind == "Checkpoint":
        assert files(tmp_path) == ["m", "m-000006", "m-000007"] and Sequential.load(path).epoch == 8
    else:
        assert path.read_text().splitlines()[-1].startswith("8,")


def test_another_run_that_lives_keeps_its_temporary_file(tmp_path):
    """Two fits into one path, one after the other's temporary file: each writes whole files."""
    from ldl_cy.replacing import replace_file

    def write(file):
        fit(made(), Checkpoint(tmp_path / "m"))
        made().build(3).save(file)

    if os.name != "posix":
        pytest.skip("Windows does not delete open files")
    replace_file("save", tmp_path / "m", write)
    assert Sequential.load(tmp_path / "m").epoch == 0 and files(tmp_path) == ["m", "m-000002", "m-000003"]
