"""The build makes what is out of date and nothing else, and what is out of date is not tested (ci/rebuild.py).

Nothing is compiled here: the three steps of a build are functions that note what they are asked for, where
setup.py's call Cython, the compiler and the linker.
"""
import os
from pathlib import Path

import pytest

if not (Path(__file__).resolve().parents[1] / "ci" / "rebuild.py").exists():
    # wheels are tested with the folder tests alone
    pytest.skip("the source tree, whose build is tested here, is not beside the tests", allow_module_level=True)

# conftest.py of the root has imported both from ci; where it has not, these tests fail
import installed
import rebuild

FILES = {
    "_engine/vec.pyx": 'cdef extern from "vec/cpu.h" nogil:\n    int level\n',
    "_engine/vec.pxd": 'cdef extern from "vec/vec.h" nogil:\n    int table\n',
    "_engine/vec/vec.c": '#include "vec.h"\n#include "kernels.inc"\n',
    "_engine/vec/vec.h": '#include <stdint.h>\n#include "pooling.h"\n',
    "_engine/vec/pooling.h": "",
    "_engine/vec/cpu.h": "",
    "_engine/vec/kernels.inc": '#  include "rules.inc"\n',
    "_engine/vec/rules.inc": "",
    "_engine/op.pyx": "",
    "_engine/op.pxd": "from libc.stdint cimport uint64_t\n",
    "_engine/pool.pyx": 'cdef extern from "platform.h" nogil:\n    int pause\n',
    "_engine/platform.h": "",
    "_kernels/dense.pyx": "from ldl_cy._engine cimport vec    # the table\n",
    "_kernels/panels.pxd": "from ldl_cy._engine.op cimport (  # laws,\n    Op,\n    Call)\n",
    "_kernels/conv.pyx": "cimport ldl_cy._kernels.panels as panels, cython\n",
    "_kernels/reverse.pyx": "from .._engine cimport op\n",
}
ISAS = ("v2", "v3")
VEC_OBJECTS = {f"vec.c {isa}" for isa in ISAS}


class Tree:
    """A small package in the current folder, and builds of it, each of which tells what it made."""

    def __init__(self):
        for name, text in FILES.items():
            path = Path("ldl_cy", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def edit(self, name):
        with open(Path("ldl_cy", name), "a") as file:
            file.write("\n")

    def modules(self, flags):
        for name, files in rebuild.modules(Path.cwd()).items():
            base, pyx = name.replace(".", "/"), files[0] if files else None
            objects = [rebuild.Object(f"build/{base}.o", f"{base}.c", "", {"flags": flags})]
            objects += [rebuild.Object(f"build/{isa}/vec.o", source, isa, {"flags": [*flags, isa]})
                        for source in files[1:] for isa in ISAS]
            yield rebuild.Module(name, base + rebuild.EXTENSION_SUFFIXES[0], pyx, objects)

    def build(self, flags=(), fails=None, **options):
        """What was made: dense.c by Cython, dense.o and "vec.c v2" by the compiler, dense by the linker."""
        made = []

        def make(what, path):
            if what == fails:
                raise RuntimeError(what)
            Path(path).write_text(what)
            made.append(what)

        rebuild.Build(
            rebuild.Sources(Path.cwd()), rebuild.Records(Path("build", rebuild.RECORDS)), **options,
            write_c=lambda modules: [make(Path(one.c).name, one.c) for one in modules],
            compile_object=lambda one: make(f"vec.c {one.folder}" if one.folder else Path(one.made).name, one.made),
            link=lambda module: make(module.name.split(".")[-1], module.made)).run(list(self.modules(flags)))
        assert len(made) == len(set(made))
        return set(made)


def steps(*modules):
    """All that makes these modules, but for vec's objects."""
    return {name + ending for name in modules for ending in (".c", ".o", "")}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Tree()


@pytest.fixture
def built(tree):
    assert tree.build() == EVERYTHING
    return tree


ALL = ("vec", "op", "pool", "dense", "conv", "reverse", "_cyutility")
EVERYTHING = steps(*ALL) | VEC_OBJECTS


def test_with_nothing_to_do_nothing_is_made(built):
    assert built.build() == set()


def test_the_time_of_a_file_decides_nothing(built):
    for name in FILES:
        os.utime(Path("ldl_cy", name), (4e9, 4e9))
    assert built.build() == set()


@pytest.mark.parametrize("edited, made", [
    ("_engine/vec/rules.inc", VEC_OBJECTS | {"vec"}),
    ("_engine/vec/vec.c", VEC_OBJECTS | {"vec"}),
    ("_engine/vec/cpu.h", {"vec.o", "vec"}),
    ("_engine/platform.h", {"pool.o", "pool"}),
    ("_engine/vec/pooling.h", VEC_OBJECTS | {"vec.o", "vec", "dense.o", "dense"}),
    ("_engine/vec.pyx", steps("vec")),
    ("_engine/vec.pxd", steps("vec", "dense")),
    ("_engine/op.pxd", steps("op", "conv", "reverse")),
    ("_kernels/panels.pxd", steps("conv")),
    ("_kernels/dense.pyx", steps("dense")),
])
def test_an_edited_file_makes_what_reaches_it(built, edited, made):
    built.edit(edited)
    assert built.build() == made
    assert built.build() == set()


def test_a_new_pxd_counts(built):
    Path("ldl_cy/_kernels/dense.pxd").write_text("")
    assert built.build() == steps("dense")


def test_other_flags_or_tools_compile_again_what_cython_wrote(built):
    compiled = {step for step in EVERYTHING if not step.endswith(".c")}
    assert built.build(["-DLDL_PLAIN"]) == compiled
    assert built.build(["-DLDL_PLAIN"]) == set()
    assert built.build(["-DLDL_PLAIN"], tools=["gcc 13"]) == compiled
    assert built.build(["-DLDL_PLAIN"], tools=["gcc 13"], cython=["line tracing"]) == EVERYTHING - VEC_OBJECTS
    assert built.build(["-DLDL_PLAIN"], tools=["gcc 13"], cython=["line tracing"], force=True) == EVERYTHING


def test_the_environment_is_among_the_tools(monkeypatch):
    before = rebuild.tools(["gcc", "-O2"], ["gcc", "-shared"])
    assert rebuild.tools(["gcc", "-O2"], ["gcc", "-shared"]) == before
    assert rebuild.tools(["gcc", "-O2", "-fsanitize=address"], ["gcc", "-shared"]) != before
    monkeypatch.setenv("CPATH", "elsewhere")
    assert rebuild.tools(["gcc", "-O2"], ["gcc", "-shared"]) != before


def test_what_another_has_put_in_its_place_is_made_again(built):
    module = next(one for one in built.modules(()) if one.name.endswith("dense"))
    Path(module.made).write_text("of another build")
    assert built.build() == {"dense"}
    Path(module.made).unlink()
    assert built.build() == {"dense"}


@pytest.mark.parametrize("fails, again", [
    ("vec.c v3", {"vec.c v3", "vec"}), ("dense.o", {"dense.o", "dense"}), ("conv", {"conv"})])
def test_after_a_failure_the_rest_is_made(built, fails, again):
    for name in ("_engine/vec/rules.inc", "_kernels/dense.pyx", "_kernels/panels.pxd"):
        built.edit(name)
    with pytest.raises(RuntimeError, match=fails):
        built.build(fails=fails)
    assert again <= built.build()
    assert built.build() == set()


def test_modules_without_a_source_are_found(built):
    suffixes = rebuild.EXTENSION_SUFFIXES
    made = {one.name: Path.cwd() / one.made for one in built.modules(())}
    assert rebuild.leftovers(Path.cwd(), made) == []
    gone = [Path.cwd() / f"ldl_cy/_kernels/gone{ending}" for ending in (".c", ".abi3.so")]
    for path in gone:
        path.write_text("")
    assert rebuild.leftovers(Path.cwd(), made) == sorted(gone, key=str)
    # one that is imported in place of what was made
    made["ldl_cy._kernels.dense"] = Path.cwd() / f"ldl_cy/_kernels/dense{suffixes[-1]}"
    made["ldl_cy._kernels.dense"].write_text("")
    assert Path.cwd() / f"ldl_cy/_kernels/dense{suffixes[0]}" in rebuild.leftovers(Path.cwd(), made)


def test_what_is_out_of_date_is_known_by_name(built):
    assert rebuild.stale_modules(Path.cwd()) == ([], [])
    built.edit("_engine/vec/rules.inc")
    Path(next(one for one in built.modules(()) if one.name.endswith("conv")).made).unlink()
    Path(next(one for one in built.modules(()) if one.name.endswith("pool")).made).write_text("of another build")
    assert rebuild.stale_modules(Path.cwd()) == (
        ["ldl_cy._engine.vec", "ldl_cy._kernels.conv"], ["ldl_cy._engine.pool"])


# The real sources.

def test_no_include_is_overlooked():
    sources = rebuild.Sources()
    reached = {name for files in rebuild.modules().values() for file in files for name in sources.closure(file)}
    headers = {path.relative_to(rebuild.ROOT).as_posix() for ending in ("h", "inc", "pxd")
               for path in (rebuild.ROOT / "ldl_cy").rglob(f"*.{ending}")}
    assert headers - reached == set()


def test_only_vec_is_compiled_again_for_its_kernels():
    sources = rebuild.Sources()
    reach = {name: {path for file in files for path in sources.closure(file)}
             for name, files in rebuild.modules().items()}
    kernels = [name for name, paths in reach.items() if any(path.endswith(".inc") for path in paths)]
    assert kernels == [rebuild.VEC]


def test_cython_knows_no_dependency_that_is_not_known_here(monkeypatch):
    pytest.importorskip("Cython", reason="the extra 'test' brings Cython, pytest alone does not")
    from Cython.Build import Dependencies
    from Cython.Compiler.Main import Context
    from Cython.Compiler.Options import CompilationOptions

    monkeypatch.chdir(rebuild.ROOT)
    tree = Dependencies.DependencyTree(Context.from_options(CompilationOptions(include_path=["."])), quiet=True)
    sources = rebuild.Sources()
    for files in rebuild.modules().values():
        for file in files[:1]:
            known = {Path(name).resolve() for name in tree.all_dependencies(file)}
            known = {path.relative_to(rebuild.ROOT).as_posix() for path in known
                     if path.is_relative_to(rebuild.ROOT / "ldl_cy")}
            assert known <= set(sources.closure(file)), file


# Which copy an environment has.

@pytest.fixture
def environment(tmp_path, monkeypatch):
    """An environment in which `install(editable_from)` installs ldl_cy, as far as pip's records go."""
    monkeypatch.setattr(installed, "STAMP", tmp_path / "ldl_cy.installed")
    monkeypatch.setattr(installed.sysconfig, "get_path", lambda name: str(tmp_path))
    info = tmp_path / "ldl_cy-1.dist-info"

    def install(direct="{}", record="ldl_cy/__init__.py,,"):
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Name: ldl_cy\nVersion: 1\n")
        (info / "RECORD").write_text(record)
        (info / "direct_url.json").write_text(direct)

    return install


def test_an_editable_installation_is_known(environment):
    assert installed.state() == "none"
    for folder, state in ((installed.ROOT, "editable"), (installed.ROOT.parent, "elsewhere")):
        environment(f'{{"url": "{folder.as_uri()}", "dir_info": {{"editable": true}}}}')
        assert installed.state() == state


def test_a_copy_is_current_while_nothing_changes(environment, monkeypatch):
    environment()
    assert installed.state() == "stale"
    key = installed.key()
    installed.record(key)
    assert installed.state() == "current"
    monkeypatch.setenv("CFLAGS", "-DLDL_PLAIN")
    assert installed.state() == "stale"


def test_a_copy_is_stale_where_the_sources_change_or_another_is_installed(environment, monkeypatch):
    environment()
    installed.record(installed.key())
    with monkeypatch.context() as patch:
        patch.setattr(installed, "source_key", lambda: "others")
        assert installed.state() == "stale"
    assert installed.state() == "current"
    environment(record="ldl_cy/__init__.py,,\nldl_cy/old.py,,")
    assert installed.state() == "stale"


def test_the_sources_of_a_copy_are_all_that_is_not_generated(tmp_path):
    def write(name):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        return installed.source_key(tmp_path)

    before = write("ldl_cy/_engine/op.pyx")
    for name in ("ldl_cy/_engine/op.c", "ldl_cy/_engine/op.abi3.so", "ldl_cy/__pycache__/a.py"):
        assert write(name) == before
    for name in ("ldl_cy/_engine/vec/vec.c", "ldl_cy/new.py", "setup.py", "ldl_cy/py.typed"):
        assert write(name) != before
        before = installed.source_key(tmp_path)
