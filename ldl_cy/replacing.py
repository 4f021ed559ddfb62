"""Files that are replaced as a whole: a reader sees the old content or the new one, whenever a process ends."""
from __future__ import annotations

import errno
import glob
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ldl_cy.messages import shown

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
        raise TypeError(f"{owner}: path must be a path, got {shown(path)}.") from None
    if not text or "\0" in text:
        raise ValueError(f"{owner}: path must be a path, got {shown(path)}.")
    if text.endswith(tuple(filter(None, (os.sep, os.altsep)))):
        raise ValueError(f"{owner}: path must be a file, got the folder {shown(text)}.")
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
        raise ValueError(f"{owner}: path must be a file, got the folder {shown(str(path))}.")
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{owner}: path must be a file, got {shown(str(path))}, which is a device or a pipe; "
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
            opened = _created(temporary, 0o666 if before is None else 0o600)
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
    except PermissionError:         # only its owner and root may keep the owner of another user's file
        pass
    os.chmod(path, stat.S_IMODE(before.st_mode))


def _created(path: Path, mode: int) -> int:
    """A new file with a lock, by which ``delete_leftovers`` knows that its process lives; none on Windows."""
    while True:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        if fcntl is not None:
            with suppress(OSError):         # a file system without locks
                fcntl.flock(opened, fcntl.LOCK_EX)
        if os.path.exists(path):
            return opened
        os.close(opened)                    # another process has deleted it before it was locked


@contextmanager
def _in_use(opened: int) -> Iterator[None]:
    """Keep the lock beyond the end of writing, until the file has its name."""
    kept = os.dup(opened)
    try:
        yield
    finally:
        os.close(kept)


def delete_leftovers(path: Path) -> None:
    """Delete temporary files of processes that were killed while they wrote the file, under names of all versions."""
    target = Path(os.path.realpath(path))
    for stem in {_stem(target.name), target.name}:
        for half in target.parent.glob(f".{glob.escape(stem)}.*{HALF}"):
            if "." not in half.name[len(stem) + 2:-len(HALF)]:
                _delete_unused(half)


def _delete_unused(path: Path) -> None:
    """Delete a temporary file, unless it is locked or, on Windows, open."""
    with suppress(BlockingIOError, FileNotFoundError, PermissionError), ExitStack() as stack:
        if fcntl is not None:
            file = stack.enter_context(open(path, "r+b"))        # NFS locks only what can be written
            try:
                # until it is deleted, so that no process believes that it is its own
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise
            except OSError:                 # a file system without locks
                pass
        path.unlink()


def _stem(name: str) -> str:
    """The name, or if it is long, its beginning and a checksum: what its temporary files begin with."""
    if len(os.fsencode(name)) <= LONGEST_STEM:
        return name
    short = name[:LONGEST_STEM - 17]
    while len(os.fsencode(short)) > LONGEST_STEM - 17:
        short = short[:-1]
    return f"{short}~{hashlib.blake2b(os.fsencode(name), digest_size=8).hexdigest()}"
