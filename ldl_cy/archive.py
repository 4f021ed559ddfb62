"""Model files as zip archives, and file objects: members are stored as they are, so that no size in a file is believed.

What a file can cost is bounded by its own length: a member is at most as long as the file, and memory is allocated
for what is there. SECURITY.md states the bounds.
"""
from __future__ import annotations

import errno
import io
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from ldl_cy.messages import shown
from ldl_cy.replacing import as_path, check_regular, naming, replace_file

DESCRIPTION = "model.json"
LARGEST_JSON = 1 << 24          # bytes: larger than any description, so that a hostile file is refused
CHUNK = 1 << 20
SEEKABLE = (io.BytesIO, io.BufferedWriter, io.BufferedRandom)       # file objects that can seek if they say so

T = TypeVar("T")


def write_model(file: Any, text: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the description and the arrays to a path, atomically, or to a binary file object."""
    def write(target: Any) -> None:
        archive = zipfile.ZipFile(target, "w", zipfile.ZIP_STORED)
        try:
            archive.writestr(DESCRIPTION, text)
            for name, array in arrays.items():
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, array, allow_pickle=False)
                archive.writestr(f"{name}.npy", buffer.getbuffer())
        except BaseException:
            with suppress(ValueError):      # of a member that a signal has left open: its exception counts
                archive.close()
            raise
        archive.close()

    write_file("save", file, write)


def write_file(owner: str, file: Any, write: Callable[[Any], object]) -> None:
    """Call ``write`` with the new file of a path, which is replaced atomically, or with a binary file object.

    Parameters
    ----------
    owner : str
        The function that writes, for errors.
    file : path or binary file object
    write : function of an open file
    """
    if not hasattr(file, "write"):
        replace_file(owner, as_path(owner, file), write)
        return
    with naming(getattr(file, "name", file)):
        _check_binary(owner, file, lambda: file.write(b""), "be written")
        write(file if isinstance(file, SEEKABLE) else _Stream(file))
        file.flush()


class _Stream(io.BufferedIOBase):
    """A file object that is written from its first byte to its last: a compressed one cannot go back.

    An unbuffered file may write less than it is given.
    """

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, part: Any) -> int:
        left = memoryview(part).cast("B")
        if not isinstance(self.file, io.RawIOBase):
            self.file.write(left)
            return left.nbytes
        while left:
            written = self.file.write(left)
            if written is None:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            left = left[written:]
        return memoryview(part).nbytes


def _check_binary(owner: str, file: Any, attempt: Callable[[], Any], purpose: str) -> None:
    """Refuse text files, and files that are closed or open for something else."""
    text = f"{owner}: the file must be a binary one that is open and can {purpose}, got {shown(file)}."
    if isinstance(file, io.TextIOBase):
        raise TypeError(text)
    try:
        attempt()
    except (TypeError, ValueError) as error:        # io.UnsupportedOperation is a ValueError
        raise (TypeError if isinstance(error, TypeError) else ValueError)(text) from error


def open_file(owner: str, file: Any) -> AbstractContextManager[IO[bytes]]:
    """The file of a path, or a file object, which is not closed; one that cannot seek is read to its end."""
    if not hasattr(file, "read"):
        path = as_path(owner, file)
        check_regular(owner, path)
        return open(path, "rb")
    _check_binary(owner, file, lambda: file.read(0) + b"", "be read")
    seekable = getattr(file, "seekable", None)
    return nullcontext(file if seekable is not None and seekable() else io.BytesIO(file.read()))


# What zipfile, json, NumPy and layers raise for damaged input.
FAULTS = (ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, SyntaxError,
          TypeError, ValueError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zipfile.LargeZipFile,
          zlib.error)


@contextmanager
def readable(owner: str, file: Any, kind: str) -> Iterator[None]:
    """Faults within make a ValueError that names the file: it is not a readable file of this kind."""
    try:
        yield
    except MemoryError:
        raise MemoryError(f"{owner}: {_shown(file)} does not fit into memory.") from None
    except TimeoutError:            # an alarm of the caller's, like all errors that are not among the FAULTS
        raise
    except FAULTS as error:
        if isinstance(error, ValueError) and str(error).startswith(f"{owner}:"):
            raise
        raise ValueError(f"{owner}: {_shown(file)} is not a readable {kind}: {error}") from error


def read_model(file: Any, read: Callable[[zipfile.ZipFile], T]) -> T:
    """``read``'s result for the archive; any fault of it is a ValueError.

    Parameters
    ----------
    file : path or binary file object
    read : function of a ZipFile
    """
    with open_file("load", file) as opened, readable("load", file, "ldl_cy model"):
        with zipfile.ZipFile(opened) as archive:
            found = read(archive)
        opened.seek(0, os.SEEK_END)
    return found


def _shown(file: Any) -> str:
    return str(Path(os.fsdecode(file))) if isinstance(file, (str, bytes, os.PathLike)) else repr(file)


def _open(archive: zipfile.ZipFile, name: str) -> tuple[IO[bytes], int]:
    """A member of the archive and its size in bytes, at most that of the file; compressed members are refused."""
    info = archive.getinfo(name)
    if archive.namelist().count(name) > 1:
        raise ValueError(f"{name} must be there once")
    assert archive.fp is not None
    # zipfile allocates memory by one of the sizes and reads by the other
    largest = max(info.file_size, info.compress_size)
    if info.compress_type != zipfile.ZIP_STORED or largest > archive.fp.seek(0, os.SEEK_END):
        raise ValueError(f"{name} must be stored uncompressed, with sizes within the file")
    return archive.open(info), info.file_size


def read_text(archive: zipfile.ZipFile) -> bytes:
    """The description."""
    file, size = _open(archive, DESCRIPTION)
    if size > LARGEST_JSON:
        raise ValueError(f"{DESCRIPTION} is too long")
    return file.read()


def read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """A .npy array of floats; a header whose dtype or shape does not fit the data is refused."""
    file, size = _open(archive, name)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"{name} must be of version 1.0, got {version}")
    shape, columns_first, dtype = np.lib.format.read_array_header_1_0(file)
    data = bytearray(max(0, size - file.tell()))
    if dtype.kind != "f" or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{name} must hold floats in {len(data)} bytes, got {shape} of {dtype}")
    left = memoryview(data)
    while left:
        part = file.read(min(CHUNK, len(left)))
        if not part:
            raise ValueError(f"{name} ends too early")
        left[:len(part)] = part
        left = left[len(part):]
    file.read()                         # to the end, where zipfile compares the checksum
    return np.frombuffer(data, dtype).reshape(shape, order="F" if columns_first else "C")
