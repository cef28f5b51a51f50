"""Arrays by name with a JSON header in one file: written atomically, read without trusting it.

A file ends in .npz, and is then a zip archive as `numpy.load` reads it with a member `bptt.json`
for the header, or in .safetensors, with the header in its metadata. Whatever is wrong with a file
is a ValueError that names it: nothing in it is executed or unpickled, no more memory is taken than
the file is large, and checksums (zip has its own) tell damaged bytes from intact ones.
"""

from __future__ import annotations

import contextlib
import glob
import io
import json
import math
import os
import secrets
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .. import checks
from ..optional import partner

Arrays = Mapping[str, NDArray[Any]]

_FORMAT = 1  # of what the header says; changes when older versions of bptt could not read it
_MEMBER = "bptt.json"


class Archive(NamedTuple):
    """What a file holds."""

    header: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def as_path(name: str, value: object) -> Path:
    """Check a path, whose suffix says what format a file has; a link is followed."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} is {checks.described(value)}, must be a path")
    # realpath: what replaces the file must not replace a link to it
    path = Path(os.path.realpath(os.fsdecode(value)))
    if path.suffix not in _WRITERS:
        raise ValueError(f"{name} is {os.fspath(path)!r}, must end in {' or '.join(_WRITERS)}")
    return path


def plain(name: str, value: object, kinds: str) -> bool | int | float | str | None:
    """Check what is to stand in a header; `kinds` tells what else would do."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name} is {checks.described(value)}, must be {kinds}, to be saved")


def write(path: Path, kind: str, header: Mapping[str, Any], arrays: Arrays) -> None:
    """Write a file of a kind ("model", "checkpoint"); on an error `path` is what it was before."""
    text = json.dumps({"bptt": kind, "format": _FORMAT, **header})
    with replacing(path) as file:
        _WRITERS[path.suffix](file, text, arrays)


def read(path: Path, kind: str) -> Archive:
    """Read a file of a kind.

    Raises
    ------
    OSError
        It cannot be opened.
    ValueError
        It is damaged, or no file of this kind.
    """
    with _File(path) as file:
        try:
            text, arrays = _READERS[path.suffix](file)
            header = json.loads(text)
        except ImportError:
            raise
        except Exception as error:  # parsers raise nearly anything on bytes that are not theirs
            told = str(error) or type(error).__name__
            raise ValueError(f"{path} is damaged, or not a file of bptt: {told}") from error
    if not isinstance(header, dict) or "bptt" not in header:
        raise ValueError(f"{path} is not a file of bptt: its header does not say so")
    if header.get("format") != _FORMAT:
        raise ValueError(
            f"{path} has format {header.get('format')!r}, this version of bptt reads {_FORMAT}"
        )
    if header["bptt"] != kind:
        raise ValueError(f"{path} holds a {header['bptt']}, must hold a {kind}")
    return Archive(header, arrays)


class _File(io.FileIO):
    """A file to read; like any other, but never allocates more than there is left to read."""

    def read(self, size: int | None = -1, /) -> Any:
        left = max(os.fstat(self.fileno()).st_size - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file that takes the place of `path` at the end, or on an error never was."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot, and need not
            os.fsync(folder)
    finally:
        os.close(folder)


def remove_leftovers(path: Path) -> None:
    """Remove what writers of `path` left that were killed while they wrote."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 16}.tmp"):
        temporary.unlink(missing_ok=True)


# ---- .npz


def _write_npz(file: IO[bytes], text: str, arrays: Arrays) -> None:
    # ZipInfo has a fixed date: the same contents are the same bytes
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(_MEMBER), text)
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                npy.write_array(member, array, version=(1, 0), allow_pickle=False)


def _read_npz(file: io.FileIO) -> tuple[str, dict[str, NDArray[Any]]]:
    with zipfile.ZipFile(cast(IO[bytes], file)) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("it is compressed")
        if sum(member.file_size for member in members) > os.fstat(file.fileno()).st_size:
            raise ValueError("its members are larger than itself")
        text = archive.read(_MEMBER).decode()
        return text, {
            member.filename.removesuffix(".npy"): _parse_npy(archive.read(member))
            for member in members
            if member.filename != _MEMBER
        }


def _parse_npy(data: bytes) -> NDArray[Any]:
    """The array of an .npy file; unlike numpy.load, which allocates what the header asks for."""
    stream = io.BytesIO(data)
    if npy.read_magic(stream) != (1, 0):
        raise ValueError("an array has another version of .npy")
    shape, fortran_order, dtype = npy.read_array_header_1_0(stream)
    begin = stream.tell()
    if dtype.hasobject or dtype.itemsize * math.prod(shape) != len(data) - begin:
        raise ValueError(f"an array of shape {shape} and {dtype} has {len(data) - begin} bytes")
    array = np.frombuffer(data, dtype, offset=begin)
    return array.reshape(shape, order="F" if fortran_order else "C")


# ---- .safetensors


def _safetensors(module: str) -> Any:
    return partner(module, "files in .safetensors need the package", "safetensors")


def _write_safetensors(file: IO[bytes], text: str, arrays: Arrays) -> None:
    safetensors = _safetensors("safetensors.numpy")
    packed = {
        name: np.require(array, array.dtype.newbyteorder("="), "C")
        for name, array in arrays.items()
    }
    # one entry: several are written in any order, and the same contents should be the same bytes
    metadata = {"bptt": f"{_checksum(text, packed)} {text}"}
    file.write(safetensors.save(packed, metadata))


def _read_safetensors(file: io.FileIO) -> tuple[str, dict[str, NDArray[Any]]]:
    with _safetensors("safetensors").safe_open(file.name, framework="np") as archive:
        metadata = archive.metadata() or {}
        checksum, _, text = metadata["bptt"].partition(" ")
        arrays = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
    if _checksum(text, arrays) != checksum:
        raise ValueError("its contents are not those that were saved")
    return text, arrays


def _checksum(text: str, arrays: Arrays) -> str:
    crc = zlib.crc32(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        crc = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), crc)
        crc = zlib.crc32(array.tobytes(), crc)
    return f"{crc:08x}"


_WRITERS = {".npz": _write_npz, ".safetensors": _write_safetensors}
_READERS = {".npz": _read_npz, ".safetensors": _read_safetensors}
