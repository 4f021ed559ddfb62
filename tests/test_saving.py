"""Where models are saved to and loaded from: names, links, permissions, full disks, file objects."""
import bz2
import errno
import gzip
import io
import lzma
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import zipfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from states import check_same

from ldl_cy import Sequential, layers
from ldl_cy.replacing import delete_leftovers, replace_file

POSIX = os.name == "posix"
posix = pytest.mark.skipif(not POSIX, reason="links, permissions, pipes and devices as POSIX has them")


def made(seed=0, units=3):
    return Sequential([layers.Dense(units), layers.Dense(1)], random_state=seed).build(4)


def files(folder):
    return sorted(path.name for path in Path(folder).iterdir())


# -- paths ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m", "x" * 250, "x" * 255, "é" * 127, "名" * 85, "a\nb", "a b'\"*[?", ".hidden", "-m",
                                  "~", "..m", "m.part", "." + "y" * 240 + ".part"])
def test_names(name, tmp_path):
    if not POSIX and set(name) & set("\n*?\""):
        pytest.skip("names that Windows does not have")
    model = made()
    for path in (tmp_path / name, str(tmp_path / name), os.fsencode(tmp_path / name)):
        model.save(path)
        assert files(tmp_path) == [name]
        check_same(Sequential.load(path), model)


@pytest.mark.parametrize(("path", "error", "start"), [
    ("", ValueError, "path must be a path, got ''"), ("a\0b", ValueError, "path must be a path, got 'a\\x00b'"),
    (".", ValueError, "path must be a file, got the folder"), ("..", ValueError, "path must be a file, got the folder"),
    ("folder", ValueError, "path must be a file, got the folder"),
    ("folder/", ValueError, "path must be a file, got the folder"),
    ("new/", ValueError, "path must be a file, got the folder"),
    (b"", ValueError, "path must be a path, got b''"),
    (3, TypeError, "path must be a path, got 3"), (None, TypeError, "path must be a path, got None"),
    (1.5, TypeError, "path must be a path, got 1.5"), (["m"], TypeError, "path must be a path, got ['m']"),
])
@pytest.mark.parametrize("owner", ["save", "load"])
def test_no_paths(owner, path, error, start, tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as raised:
        made().save(path) if owner == "save" else Sequential.load(path)
    assert str(raised.value).startswith(f"{owner}: {start}")
    assert files(tmp_path) == ["folder"]


@pytest.mark.parametrize("path", ["nowhere/m", "m/m", "x" * 256])
def test_errors_of_the_system_name_the_path(path, tmp_path):
    made().save(tmp_path / "m")
    for call in (made().save, Sequential.load):
        with pytest.raises(OSError) as raised:
            call(tmp_path / path)
        assert raised.value.filename == str(tmp_path / path) and raised.value.filename2 is None
        assert str(raised.value).endswith(f": {str(tmp_path / path)!r}")
    assert files(tmp_path) == ["m"]


@posix
def test_pipes_and_devices_are_left_alone(tmp_path):
    """Opening a pipe would wait for its other end; a file would take the place of a device."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for path in (tmp_path / "pipe", tmp_path / "null", "/dev/full", "/dev/null", "/dev/zero"):
        kind = os.stat(path).st_mode
        for owner, call in (("save", made().save), ("load", Sequential.load)):
            with pytest.raises(ValueError, match=rf"{owner}: path must be a file, got .*, which is a device or a pipe"):
                call(path)
        assert os.stat(path).st_mode == kind
    assert files(tmp_path) == ["null", "pipe"]


# -- links and permissions ------------------------------------------------------------------------------------


@posix
def test_links_are_followed(tmp_path):
    (tmp_path / "store").mkdir()
    for old in (True, False):                       # also one that leads nowhere yet
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "second").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to("store/m")
        (tmp_path / "second").symlink_to("link")
        (tmp_path / "store" / "m").unlink(missing_ok=True)
        if old:
            made(5).save(tmp_path / "store" / "m")
        model = made()
        model.save(tmp_path / "second")
        assert (tmp_path / "second").is_symlink() and (tmp_path / "link").is_symlink()
        assert not (tmp_path / "store" / "m").is_symlink() and files(tmp_path / "store") == ["m"]
        check_same(Sequential.load(tmp_path / "store" / "m"), model)


@posix
def test_circles_of_links(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for call in (made().save, Sequential.load):
        with pytest.raises(OSError) as raised:
            call(tmp_path / "a")
        assert raised.value.errno == errno.ELOOP and raised.value.filename == str(tmp_path / "a")
    assert files(tmp_path) == ["a", "b"]


@posix
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640, 0o666, 0o777])
def test_permissions_stay(mode, tmp_path):
    made().save(tmp_path / "m")
    (tmp_path / "m").chmod(mode)
    before = (tmp_path / "m").stat()
    made().save(tmp_path / "m")
    after = (tmp_path / "m").stat()
    assert stat.S_IMODE(after.st_mode) == mode
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)


@posix
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o027, 0o077])
def test_new_files_follow_the_umask(mask, tmp_path):
    before = os.umask(mask)
    try:
        made().save(tmp_path / "m")
        (tmp_path / "plain").write_bytes(b"")
    finally:
        os.umask(before)
    assert (tmp_path / "m").stat().st_mode == (tmp_path / "plain").stat().st_mode


@posix
def test_read_only_files_stay(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write to every file")
    made().save(tmp_path / "m")
    (tmp_path / "m").chmod(0o444)
    before = (tmp_path / "m").read_bytes()
    with pytest.raises(PermissionError, match="m'"):
        made(1).save(tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == before and files(tmp_path) == ["m"]


# -- what is left, and what is not ----------------------------------------------------------------------------


def test_leftovers(tmp_path):
    """Of processes that were killed: deleted under the names of all versions, but not those of a process that lives."""
    name = "n" * 250
    made().save(tmp_path / name)
    seen = []

    def write(file):
        seen.extend(files(tmp_path))
        delete_leftovers(tmp_path / name)
        assert files(tmp_path) == seen

    replace_file("save", tmp_path / name, write)
    half, = set(seen) - {name}
    assert half.startswith(".nnn") and half.endswith(".part") and len(half) < 140
    assert files(tmp_path) == [name]
    long = "k" * 120                                # as earlier versions called it
    left = {half: name, ".m.0123456789abcdef.part": "m", f".{long}.0123456789abcdef.part": long}
    others = [name, ".m.mine.0123456789abcdef.part", f"{half}.txt"]
    for other in (*left, *others[1:]):
        (tmp_path / other).write_text("half")
    for target in left.values():
        delete_leftovers(tmp_path / target)
    assert files(tmp_path) == sorted(others)


@pytest.mark.skipif(os.name != "posix", reason="Windows does not delete open files")
def test_a_temporary_file_that_another_process_deletes_before_it_is_locked(tmp_path, monkeypatch):
    import fcntl

    others = []

    def deleted_first(file, how, flock=fcntl.flock):
        if not others:                              # another run, which begins between the two calls
            others.append(how)
            delete_leftovers(tmp_path / "m")
        return flock(file, how)

    monkeypatch.setattr(fcntl, "flock", deleted_first)
    made(2).save(tmp_path / "m")
    assert others and files(tmp_path) == ["m"] and Sequential.load(tmp_path / "m").random_state == 2


LIMITED = """
import resource, signal, sys
import numpy as np
from ldl_cy import Sequential, layers
path, limit = sys.argv[1], int(sys.argv[2])
model = Sequential([layers.Dense(200)], random_state=1).build(200)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    model.save(path)
except OSError as error:
    print(error.errno, error.filename, model.predict(np.ones((1, 200))).shape)
"""


@posix
@pytest.mark.parametrize("limit", [0, 10, 500, 20_000, 160_000])
def test_a_file_that_cannot_grow(limit, tmp_path):
    """As on a full disk: the old file stays, and nothing beside it."""
    made().save(tmp_path / "m")
    before = (tmp_path / "m").read_bytes()
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path / "m"), str(limit)], cwd=tempfile.gettempdir(),
                          capture_output=True, text=True, check=True)
    assert done.stdout == f"{errno.EFBIG} {tmp_path / 'm'} (1, 200)\n"
    assert files(tmp_path) == ["m"] and (tmp_path / "m").read_bytes() == before


@pytest.fixture
def small_disk(tmp_path):
    """A folder with room for 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True)
    except OSError:
        pytest.skip("no mount command")
    if done.returncode:
        pytest.skip("a file system may not be mounted")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(small_disk):
    small = made()
    small.save(small_disk / "m")
    large = Sequential([layers.Dense(300)], random_state=1).build(300)
    for _ in range(2):
        with pytest.raises(OSError) as raised:
            large.save(small_disk / "m")
        assert raised.value.errno == errno.ENOSPC and raised.value.filename == str(small_disk / "m")
        assert files(small_disk) == ["m"]
        check_same(Sequential.load(small_disk / "m"), small)


# -- file objects ---------------------------------------------------------------------------------------------


class OneWay(io.RawIOBase):
    """A stream, which takes or gives a few bytes at a time and cannot seek."""

    def __init__(self, content=b""):
        self.content = bytearray(content)

    def writable(self):
        return True

    def readable(self):
        return True

    def write(self, part):
        self.content += bytes(part[:100])
        return min(100, len(part))

    def readinto(self, buffer):
        n = min(100, len(buffer), len(self.content))
        buffer[:n] = self.content[:n]
        del self.content[:n]
        return n


class Minimal:
    """Only what must be there."""

    def __init__(self, content=b""):
        self.content = content

    def write(self, part):
        self.content += bytes(part)
        return len(part)

    def flush(self):
        pass

    def read(self, size=-1):
        part, self.content = (self.content, b"") if size < 0 else (self.content[:size], self.content[size:])
        return part


def test_memory_and_open_files(tmp_path):
    model, memory = made(), io.BytesIO()
    model.save(memory)
    assert not memory.closed and memory.tell() == len(memory.getvalue())
    for start in (0, 10, len(memory.getvalue())):
        memory.seek(start)
        check_same(Sequential.load(memory), model)
        assert not memory.closed and memory.tell() == len(memory.getvalue())
    with open(tmp_path / "m", "wb") as file:
        model.save(file)
        assert not file.closed
    with open(tmp_path / "m", "rb") as file:
        check_same(Sequential.load(file), model)
        assert not file.closed and file.read() == b""
    with open(tmp_path / "m", "rb", buffering=0) as raw:
        check_same(Sequential.load(raw), model)
    with tempfile.TemporaryFile() as file:
        file.write(b"a head")
        model.save(file)
        check_same(Sequential.load(file), model)


@pytest.mark.parametrize("kind", [OneWay, Minimal])
def test_streams(kind):
    model, stream = made(), kind()
    model.save(stream)
    check_same(Sequential.load(io.BytesIO(bytes(stream.content))), model)
    check_same(Sequential.load(kind(bytes(stream.content))), model)


def spooled():
    return tempfile.SpooledTemporaryFile(max_size=1000)


@pytest.mark.parametrize("method", ["save", "save_weights"])
@pytest.mark.parametrize("kind", [gzip, bz2, lzma, zipfile, spooled], ids=lambda kind: kind.__name__)
def test_other_libraries_files(kind, method, tmp_path):
    """Compressed files, members of archives and files that begin in memory."""
    if method == "save_weights":
        pytest.importorskip("safetensors", reason="the extra 'test' brings safetensors, which writes the file")
    model = made()
    with ExitStack() as stack:
        if kind is zipfile:
            archive = stack.enter_context(zipfile.ZipFile(tmp_path / "m", "w"))
            file = stack.enter_context(archive.open("inside", "w"))
        else:
            file = stack.enter_context(kind() if kind is spooled else kind.open(tmp_path / "m", "wb"))
        getattr(model, method)(file)
        if kind is not spooled:
            stack.close()
            archive = stack.enter_context(zipfile.ZipFile(tmp_path / "m")) if kind is zipfile else kind
            file = archive.open("inside") if kind is zipfile else archive.open(tmp_path / "m", "rb")
            stack.enter_context(file)
        else:
            file.seek(0)
        if method == "save":
            check_same(Sequential.load(file), model)
        else:
            other = Sequential(model.layers, model.dtype, 9).build(model.input_shape)
            assert not other.load_weights(file).missing
            np.testing.assert_array_equal(other.theta, model.theta)


def test_sockets():
    model, (here, there) = made(), socket.socketpair()
    with here, there:
        def send():
            with here.makefile("wb") as file:
                model.save(file)
            here.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        with there.makefile("rb") as file:
            check_same(Sequential.load(file), model)
        thread.join()


def test_files_that_are_none(tmp_path):
    made().save(tmp_path / "m")
    closed = io.BytesIO()
    closed.close()
    with open(tmp_path / "m", "r+", encoding="latin1") as text, open(tmp_path / "m", "rb") as reads, \
            open(tmp_path / "n", "wb") as writes:
        for owner, call, wrong in (("save", made().save, reads), ("load", Sequential.load, writes)):
            for file, error in ((text, TypeError), (io.StringIO(), TypeError), (closed, ValueError),
                                (wrong, ValueError)):
                with pytest.raises(error, match=rf"^{owner}: the file must be a binary one that is open and can be"):
                    call(file)
    assert Sequential.load(tmp_path / "m").predict(np.ones((1, 4))).shape == (1, 1)


@posix
def test_a_full_device():
    with open("/dev/full", "wb", buffering=0) as file, pytest.raises(OSError) as raised:
        made().save(file)
    assert raised.value.errno == errno.ENOSPC and "/dev/full" in str(raised.value)
