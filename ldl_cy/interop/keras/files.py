"""Keras' ``.keras`` archives, read with h5py alone, and the weights of live models in the same form.

The archive is a zip of ``config.json`` and ``model.weights.h5``, in which the weights of a layer are the datasets
``layers/<class>_<count>/vars/0``, 1, …: groups are named by class, not by layer. No code in a file is run. A
dataset is read only if it has the shape that the config's layer requires, and all its bytes are in the file.
"""
from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import IO, Any, TypeVar

import numpy as np

from ldl_cy.archive import CHUNK, FAULTS, LARGEST_JSON
from ldl_cy.layers.base import Shape
from ldl_cy.messages import shown
from ldl_cy.packages import import_package
from ldl_cy.replacing import as_path, check_regular

OWNER = "from_keras"
CONFIG, WEIGHTS, METADATA = "config.json", "model.weights.h5", "metadata.json"
MOST_EXPANSION = 20             # of a compressed member: weights shrink by a tenth, descriptions to a fifteenth
SMALL = 1 << 20                 # bytes that a member may have in any case

T = TypeVar("T")


def read_archive(file: Any, read: Callable[[Any, FileWeights], T]) -> T:
    """``read(config, weights)`` of an archive; any fault of it is a ValueError that names it.

    Parameters
    ----------
    file : path or binary file object
    read : function of what config.json holds, and of the weights
    """
    h5py = import_package(OWNER, "h5py", "io")
    opened: Any
    if hasattr(file, "read"):
        name, opened = shown(getattr(file, "name", file)), nullcontext(file)
    else:
        path = as_path(OWNER, file)
        check_regular(OWNER, path)
        name, opened = str(path), open(path, "rb")      # noqa: SIM115
    try:
        with opened as source, zipfile.ZipFile(source) as archive:
            config = _json(archive, CONFIG)
            if METADATA in archive.namelist():
                _check_version(_json(archive, METADATA))
            data, size = _member(archive, WEIGHTS)
            with data, h5py.File(data, "r") as weights:
                return read(config, FileWeights(weights, size))
    except MemoryError:
        raise MemoryError(f"{OWNER}: {name} does not fit into memory.") from None
    except TimeoutError:            # an alarm of the caller's
        raise
    except zipfile.BadZipFile as error:
        raise ValueError(f"{OWNER}: {name} must be a .keras file, which is a zip archive; Keras writes one from other "
                         f"formats by model.save('name.keras'): {error}.") from error
    except FAULTS as error:
        text = str(error).removeprefix(f"{OWNER}: ").rstrip(".")
        raise ValueError(f"{OWNER}: {name}: {text or type(error).__name__}.") from error


def _json(archive: zipfile.ZipFile, name: str) -> Any:
    data, size = _member(archive, name)
    with data:
        if size > LARGEST_JSON:
            raise ValueError(f"{name} must have at most {LARGEST_JSON} bytes, got {size}")
        try:
            return json.loads(data.read())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{name} must be JSON: {error}") from error


def _check_version(metadata: Any) -> None:
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    if not isinstance(version, str) or not version.startswith("3."):
        raise ValueError(f"keras_version must be 3, got {shown(version)}; Keras 3 saves older models again")


def _member(archive: zipfile.ZipFile, name: str) -> tuple[IO[bytes], int]:
    """A member as a file, and its size; its checksum is right, and it is not much longer than what is stored of it."""
    if archive.namelist().count(name) != 1:
        raise ValueError(f"the archive must have {name} once")
    info = archive.getinfo(name)
    assert archive.fp is not None
    whole = archive.fp.seek(0, os.SEEK_END)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} must be stored, or compressed by deflate, got method {info.compress_type}")
    stored = info.compress_type == zipfile.ZIP_STORED
    if info.compress_size > whole or info.file_size > (info.compress_size if stored else max(
            SMALL, MOST_EXPANSION * info.compress_size)):
        raise ValueError(f"{name} must have a size that fits what is stored of it, got {info.file_size} bytes")
    if info.file_size <= SMALL or not stored:
        with archive.open(info) as file:
            data = file.read()
        if len(data) != info.file_size:
            raise ValueError(f"{name} ends too early")
        return io.BytesIO(data), len(data)
    size = 0
    with archive.open(info) as file:            # to the end, where zipfile compares the checksum
        while part := file.read(CHUNK):
            size += len(part)
    if size != info.file_size:
        raise ValueError(f"{name} ends too early")
    return io.BufferedReader(_Window(archive.fp, _start(archive.fp, info), size), CHUNK), size


def _start(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """The place of a stored member's first byte, behind its header."""
    file.seek(info.header_offset + 26)
    lengths = file.read(4)
    return info.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")


class _Window(io.RawIOBase):
    """A part of a file as a file, so that large weights are read from where they are."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self.file, self.start, self.size, self.place = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.place = offset + (0, self.place, self.size)[whence]
        return self.place

    def tell(self) -> int:
        return self.place

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        left = max(0, min(len(view), self.size - self.place, CHUNK))
        self.file.seek(self.start + self.place)
        data = self.file.read(left)
        view[:len(data)] = data
        self.place += len(data)
        return len(data)


class FileWeights:
    """Weights in an HDF5 file, of a model or of a layer in it.

    Parameters
    ----------
    file : h5py.File
    size : int
        Bytes of the file: no more are read of all datasets together.
    """

    def __init__(self, file: Any, size: int, path: str = "", left: list[int] | None = None) -> None:
        self.file, self.size, self.path = file, size, path
        self.left = [size] if left is None else left

    @property
    def most(self) -> float:
        """Numbers of a model, with the ones and zeros of layers that have none in the file: few times its size."""
        return self.size + (1 << 22)

    def child(self, key: str, name: Any) -> FileWeights:
        """The weights of a layer of a model."""
        # the second name is that of the first versions of Keras 3
        inner = next((inner for inner in ("layers", "_layer_checkpoint_dependencies")
                      if self.path or inner in self.file), "layers")
        if self.path:
            inner = self.path.partition("/")[0]
        return FileWeights(self.file, self.size, f"{self.path}/{inner}/{key}".lstrip("/"), self.left)

    def read(self, source: str, parts: Sequence[str], shapes: Sequence[Shape]) -> list[np.ndarray]:
        """The weights of a layer, which must have these shapes; each of its parts has as many of them."""
        each = len(shapes) // len(parts)
        found = []
        for i, part in enumerate(parts):
            path = "/".join(filter(None, (self.path, part, "vars")))
            group = self._follow(source, self.file, path, path)
            count = len(group) if hasattr(group, "keys") else 0
            if count != each:
                raise ValueError(f"{source} must have {each} arrays in {path}, got {count}")
            found += [self._array(source, group, str(k), shape, f"{path}/{k}")
                      for k, shape in enumerate(shapes[i * each:(i + 1) * each])]
        return found

    def _follow(self, source: str, place: Any, path: str, shown_path: str) -> Any:
        """What is at a path of plain links, from a group on: others lead to other files."""
        h5py = import_package(OWNER, "h5py", "io")
        for step in path.split("/"):
            link = place.get(step, getlink=True) if isinstance(place, h5py.Group) else None
            if type(link) is not h5py.HardLink:
                raise ValueError(f"{source} must have its weights in {shown_path}, which "
                                 f"{'are missing' if link is None else 'is a link to another place'}")
            place = place[step]
        return place

    def _array(self, source: str, group: Any, key: str, shape: Shape, path: str) -> np.ndarray:
        h5py = import_package(OWNER, "h5py", "io")
        data = self._follow(source, group, key, path)
        if not isinstance(data, h5py.Dataset) or data.shape != shape or data.dtype.kind not in "fiu":
            got = f"{data.shape} of {data.dtype}" if isinstance(data, h5py.Dataset) else shown(data)
            raise ValueError(f"{source} must have numbers of the shape {shape} in {path}, got {got}")
        settings, start = data.id.get_create_plist(), data.id.get_offset()
        n_bytes = math.prod(shape) * data.dtype.itemsize
        if (settings.get_external_count() or settings.get_nfilters() or data.is_virtual or data.chunks is not None
                or start is None or start + n_bytes > self.size):
            raise ValueError(f"{source} must have its numbers in one piece in the file, uncompressed, got {path}")
        self.left[0] -= n_bytes
        if self.left[0] < 0:
            raise ValueError(f"{source} must have numbers of its own in the file, got {path}, which others have too")
        array = np.empty(shape, data.dtype)
        data.read_direct(array)
        return array


class LiveWeights:
    """Weights of a live model, or of a layer of it."""

    most = math.inf

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def child(self, key: str, name: Any) -> LiveWeights:
        """The weights of a layer of a model."""
        return LiveWeights(next((layer for layer in self.layer.layers if layer.name == name), None))

    def read(self, source: str, parts: Sequence[str], shapes: Sequence[Shape]) -> list[np.ndarray]:
        """The weights of the layer, which must have these shapes."""
        arrays = [np.asarray(array) for array in self.layer.get_weights()]
        found = [array.shape for array in arrays]
        if found != list(shapes):
            raise ValueError(f"{source} must have weights of the shapes {shown(list(shapes))}, got {shown(found)}")
        return arrays
