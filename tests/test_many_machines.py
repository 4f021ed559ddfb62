"""The scripts in docs/many_machines.md and the README run as they are, those with a communicator on two ranks too."""
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mpi_job import environment, find_mpiexec

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"# (\w+\.py)")
# what each prints
PRINTED = {
    "digits.py": r"0\.9\d+",
    "train.py": r"accuracy 0\.9\d\d, weights [0-9a-f]{8}",
    "estimators.py": r"0\.9\d+, [0-9a-f]{8}",
    "prepare.py": "",
    "shared_disk.py": r"0\.0\d+, [0-9a-f]{8}",
    "own_files.py": r"0\.0\d+, [0-9a-f]{8}",
    "resume.py": r"20 epochs, [0-9a-f]{8}",
    "on_dask.py": r"0\.9\d+",
    "search.py": r"0\.9\d+",
}
SECONDS = 100


def found_scripts():
    """The name of each block, and its code with empty lines in front, so that a traceback has the text's own lines."""
    for path in ROOT / "README.md", ROOT / "docs" / "many_machines.md":
        text = path.read_text(encoding="utf-8")
        for found in BLOCK.finditer(text):
            if path.name != "README.md" or "mpi4py" in found[1]:            # test_readme.py runs the others
                yield NAME.match(found[1])[1], "\n" * text.count("\n", 0, found.start(1)) + found[1]


SCRIPTS = dict(found_scripts())
WITH_RANKS = [name for name, code in SCRIPTS.items() if "COMM_WORLD" in code]


def run(folder, name, ranks=None, old="", new=""):
    """What a script, with one change, prints in a folder: alone, or on ranks that are started as the text says."""
    assert old in SCRIPTS[name]
    (folder / name).write_text(SCRIPTS[name].replace(old, new) if old else SCRIPTS[name], encoding="utf-8")
    command = [sys.executable, name]
    if ranks:
        command = [find_mpiexec(), "-n", str(ranks), sys.executable, "-m", "mpi4py", name]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with the files that scripts read."""
    folder = tmp_path_factory.mktemp("prepared")
    assert run(folder, "prepare.py") == ""
    return folder


def test_every_script_is_run():
    assert list(SCRIPTS) == list(PRINTED)


@pytest.mark.parametrize("name", WITH_RANKS)
def test_script_with_ranks(name, prepared, tmp_path):
    """The weights, whose checksums most of them print, have the same bits in one process and on two ranks."""
    find_mpiexec()
    printed = []
    for ranks in None, 2:
        folder = tmp_path / str(ranks)
        shutil.copytree(prepared, folder)
        printed.append(run(folder, name, ranks))
    assert re.fullmatch(PRINTED[name], printed[0])
    assert printed[0] == printed[1]


def test_resume(prepared, tmp_path):
    """On two ranks until it is killed, on one to the end: the same as all of it on one."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in whole, parts:
        shutil.copytree(prepared, folder)
    assert run(parts, "resume.py", 2, "epochs=20", "epochs=10").startswith("10 epochs")
    assert run(parts, "resume.py") == run(whole, "resume.py")


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in WITH_RANKS and name != "prepare.py"])
def test_script_with_dask(name, tmp_path):
    pytest.importorskip("distributed", reason="the extra 'test' brings distributed, Dask's scheduler and workers")
    assert re.fullmatch(PRINTED[name], run(tmp_path, name))
