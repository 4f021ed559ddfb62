"""Model files that say more than they hold: refused before memory is taken for it."""
import io
import json
import tracemalloc
import zipfile

import numpy as np
import pytest

from ldl_cy import Sequential, layers
from ldl_cy.serialize import read_description

LARGEST = 1 << 22


@pytest.fixture
def members(tmp_path):
    """Names and contents of a small model's file."""
    Sequential([layers.Dense(3), layers.Dense(1)], random_state=0).build(4).save(tmp_path / "model")
    with zipfile.ZipFile(tmp_path / "model") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def header(shape, dtype="<f4"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


def refused(path, members, kind=zipfile.ZIP_STORED):
    """The message of what comes up, and that little memory was taken."""
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="load: ") as error:
            Sequential.load(path)
        assert tracemalloc.get_traced_memory()[1] < LARGEST
    finally:
        tracemalloc.stop()
    return str(error.value)


@pytest.mark.parametrize("shape", [(2**30,), (2**62,), (2**31, 2**31), (2**64,), (0, 2**40), (-1,), (18,)])
@pytest.mark.parametrize("name", ["theta.npy", "slots.npy"])
def test_headers_that_claim_more(members, tmp_path, shape, name):
    members[name] = header(shape) + bytes(19 * 4)
    assert "must hold" in refused(tmp_path / "claims", members)


@pytest.mark.parametrize("name", ["theta.npy", "model.json"])
def test_compressed_members(members, tmp_path, name):
    """A file of some kB may hold as many MB of zeros."""
    members[name] = header((2**21,)) + bytes(2**23) if name == "theta.npy" else bytes(2**23)
    said = refused(tmp_path / "bomb", members, zipfile.ZIP_DEFLATED)
    assert "must be stored uncompressed, with sizes within the file" in said
    assert (tmp_path / "bomb").stat().st_size < 2**16


def test_networks_of_other_sizes(members, tmp_path):
    """A description of many weights without the weights."""
    described = json.loads(members["model.json"])
    described["layers"][0]["config"]["units"] = 2**27
    members["model.json"] = json.dumps(described)
    assert "theta must be (805306369,) of float32, got (19,) of float32" in refused(tmp_path / "large", members)


@pytest.mark.parametrize("value", [float("inf"), 2**70, "many", None, -1])
@pytest.mark.parametrize("name", ["epoch", "step", "optimizer_steps", "optimizer_epochs"])
def test_counts_that_are_none(members, tmp_path, name, value):
    described = json.loads(members["model.json"])
    described[name] = value
    members["model.json"] = json.dumps(described)
    assert f"{name} must be an int" in refused(tmp_path / "counts", members)


def test_read_description_anything(members, tmp_path):
    for content in (b"", b"PK\x05\x06" + bytes(18), b"x" * 100):
        (tmp_path / "no").write_bytes(content)
        with pytest.raises(ValueError, match="load: "):
            read_description(tmp_path / "no")
    # of the flags of a member: it is encrypted
    Sequential([layers.Dense(1)], random_state=0).build(1).save(tmp_path / "model")
    content = bytearray((tmp_path / "model").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "model").write_bytes(content)
    for read in (read_description, Sequential.load):
        with pytest.raises(ValueError, match=r"load: .* is encrypted"):
            read(tmp_path / "model")
