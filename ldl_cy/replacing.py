"""Files that are replaced as a whole: a reader sees the old content or the new one, whenever a process ends."""
from __future__ import annotations

import errno
import glob
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:             # Windows, where an open file cannot be deleted anyway
    fcntl = None                # type: ignore[assignment]

HALF = ".part"                  # suffix of files that are being written
LONGEST_STEM = 96               # bytes of a name in the name of its temporary file, which fits any file system then


def as_path(owner: str, path: Any) -> Path:
    """A path from a str, bytes or PathLike object.

    Raises
    ------
    TypeError, ValueError
        Anything else, or a path without a file's name.
    """
    try:
        text = os.fsdecode(path)
    except TypeError:
        raise TypeError(f"{owner}: path must be a path, got {path!r}.") from None
    if not text or "\0" in text:
        raise ValueError(f"{owner}: path must be a path, got {path!r}.")
    if text.endswith(tuple(filter(None, (os.sep, os.altsep)))):
        raise ValueError(f"{owner}: path must be a file, got the folder {text!r}.")
    return Path(text)


def check_regular(owner: str, path: Path) -> os.stat_result | None:
    """Refuse what exists and is no file, before it is opened: a pipe would wait for its other end, a device be written.

    Returns
    -------
    The file's stat result, following links; None if there is no file.

    Raises
    ------
    ValueError
        A folder, pipe, device or socket.
    OSError
        A path that cannot be followed, such as a circle of links.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise ValueError(f"{owner}: path must be a file, got the folder {str(path)!r}.")
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{owner}: path must be a file, got {str(path)!r}, which is a device or a pipe; "
                         "an open file can be passed instead.")
    return found


@contextmanager
def naming(path: Any) -> Iterator[None]:
    """Errors of the system within name the file, as those of a full disk do not, or those of its temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename = str(path)
            if error.filename2 is not None:
                del error.filename2
        raise


def replace_file(owner: str, path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file under a temporary name in the same folder, followed by fsync and rename.

    A link is followed: the file that it leads to is replaced. A file that was there keeps its owner and permissions.

    Parameters
    ----------
    owner : str, for errors
    path : Path
    write : function of the open file

    Raises
    ------
    ValueError
        A folder, pipe or device.
    OSError
        The file cannot be written; it names ``path``, under which the old content is left.
    """
    with naming(path):
        before = check_regular(owner, path)
        if before is not None and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        target = Path(os.path.realpath(path))
        temporary = target.with_name(f".{_stem(target.name)}.{secrets.token_hex(8)}{HALF}")
        try:
            # private until it has the old one's permissions; otherwise as the process's umask has it
            opened = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0),
                             0o666 if before is None else 0o600)
            with _in_use(opened):
                with open(opened, "wb") as file:
                    write(file)
                    file.flush()
                    os.fsync(file.fileno())
                if before is not None:
                    _keep_permissions(temporary, before)
                os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _keep_permissions(path: Path, before: os.stat_result) -> None:
    try:
        if hasattr(os, "chown") and (os.stat(path).st_uid, os.stat(path).st_gid) != (before.st_uid, before.st_gid):
            os.chown(path, before.st_uid, before.st_gid)
    except PermissionError:         # somebody else's file in a folder of ours
        pass
    os.chmod(path, stat.S_IMODE(before.st_mode))


@contextmanager
def _in_use(opened: int) -> Iterator[None]:
    """A lock on a temporary file, by which ``leftovers`` knows that its process lives; not on Windows."""
    if fcntl is None:
        yield
        return
    kept = os.dup(opened)           # beyond the end of writing, until the file has its name
    try:
        with suppress(OSError):
            fcntl.flock(kept, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(kept)


def _is_in_use(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError, PermissionError):
        return True
    except OSError:                 # a file system without locks
        return False
    return False


def _stem(name: str) -> str:
    """The name, or if it is long, its beginning and a checksum: what its temporary files begin with."""
    if len(os.fsencode(name)) <= LONGEST_STEM:
        return name
    short = name[:LONGEST_STEM - 17]
    while len(os.fsencode(short)) > LONGEST_STEM - 17:
        short = short[:-1]
    return f"{short}~{hashlib.blake2b(os.fsencode(name), digest_size=8).hexdigest()}"


def leftovers(path: Path) -> list[Path]:
    """Temporary files of processes that were killed while they wrote the file, under names of all versions."""
    target = Path(os.path.realpath(path))
    found = []
    for stem in {_stem(target.name), target.name}:
        for half in target.parent.glob(f".{glob.escape(stem)}.*{HALF}"):
            if "." not in half.name[len(stem) + 2:-len(HALF)] and not _is_in_use(half):
                found.append(half)
    return found
