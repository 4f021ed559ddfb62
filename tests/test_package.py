"""The package as a whole: what an import costs, what it offers, what it calls itself."""
import re
import subprocess
import sys
from importlib.metadata import entry_points, version

import pytest
from architecture import PACKAGE, cimports, circles, from_libm, imports, signatures

import ldl_cy


def python(code, folder):
    """Run code in a new interpreter, away from the source folder, which would be imported instead."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True).stdout


def test_import_leaves_the_heavy_packages_alone(tmp_path):
    heavy = [
        "sklearn", "matplotlib", "tqdm", "pandas", "safetensors", "h5py", "onnx", "torch", "keras", "mpi4py", "dask",
        "distributed"]
    code = f"import sys, ldl_cy; print([name for name in {heavy} if name in sys.modules])"
    assert python(code, tmp_path).strip() == "[]"


def test_a_fit_on_one_machine_leaves_mpi_and_dask_alone(tmp_path):
    """Also where they are installed: starting MPI takes a while, and some systems allow it under mpiexec alone."""
    code = (
        "import sys, numpy as np, ldl_cy.distributed\n"
        "from ldl_cy import MLPClassifier\n"
        "MLPClassifier(max_iter=300).fit(np.eye(4), [0, 1, 0, 1])\n"
        "print([name for name in ('mpi4py', 'dask', 'distributed') if name in sys.modules])")
    assert python(code, tmp_path).strip() == "[]"


def test_layers_and_models_need_no_scikit_learn(tmp_path):
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from ldl_cy import Sequential, layers\n"
        "model = Sequential([layers.Dense(2)]); model.build((3,)); print(model.n_parameters)")
    assert python(code, tmp_path).strip() == "8"


@pytest.mark.parametrize("name", ldl_cy.__all__)
def test_every_public_name_resolves(name):
    assert getattr(ldl_cy, name) is not None
    assert name in dir(ldl_cy)


@pytest.mark.parametrize("name", ldl_cy.interop.__all__)
def test_every_function_of_interop_resolves(name):
    assert getattr(ldl_cy.interop, name).__name__ == name
    assert name in dir(ldl_cy.interop)


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no_such_name"):
        ldl_cy.no_such_name  # noqa: B018


def test_version_is_the_distributions():
    assert ldl_cy.__version__ == version("ldl_cy")


def test_the_console_script_is_main():
    from ldl_cy.__main__ import main

    script, = entry_points(group="console_scripts", name="ldl-cy")
    assert script.load() is main


# -- the source ---------------------------------------------------------------------------------------------------


def test_a_circle_is_found():
    """The search itself."""
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == [{"b", "c"}]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_imports_run_downwards():
    arrows = imports(typing=False)
    assert len(arrows) > 80 and arrows["ldl_cy.models"] > {"ldl_cy.network", "ldl_cy.training"}
    assert circles(arrows) == []


def test_cimports_run_downwards():
    arrows = cimports()
    assert len(arrows) > 30 and "ldl_cy._engine.op" in arrows["ldl_cy._kernels.dense"]
    assert circles(arrows) == []


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("_kernels/*.pyx")), ids=lambda path: path.stem)
def test_a_struct_over_op_sizes_is_asserted_to_fit(path):
    source = path.read_text(encoding="utf-8")
    for struct in set(re.findall(r"<(\w+)\*>&op\.sizes\[0\]", source)):
        assert f"assert_fits(sizeof({struct}), sizeof(op.sizes))" in source


def test_what_is_taken_from_libm_is_exact():
    """Other functions round otherwise on other systems; those of vec do not."""
    found = from_libm()
    assert found["train.pyx"]
    assert set().union(*found.values()) <= {"NAN", "fabs", "isfinite", "sqrt", "ceil"}


def test_only_callbacks_know_the_model_that_calls_them():
    """For type checkers: callbacks are handed a model, which calls them."""
    for circle in circles(imports(typing=True)):
        others = {name for name in circle if name != "ldl_cy.models" and not name.startswith("ldl_cy.callbacks")}
        assert not others


def test_the_engine_knows_nothing_above_it():
    above = {(name, target) for arrows in (imports(typing=True), cimports()) for name, targets in arrows.items()
             if name.startswith("ldl_cy._engine") for target in targets if not target.startswith("ldl_cy._engine")}
    assert not above


def test_few_parameters():
    """What users call may have more, and constructors, which keep them."""
    allowed = ("fit", "__init__", "find_learning_rate")
    found = dict(signatures())
    assert len(found) > 500
    assert {name: n for name, n in found.items() if n > 10 and name.rpartition(".")[2] not in allowed} == {}


def test_compiled_modules_have_stubs():
    """tasks is for other compiled modules alone."""
    modules = list(PACKAGE.rglob("*.pyx"))
    assert len(modules) > 25
    assert sorted(path.stem for path in modules if not path.with_suffix(".pyi").exists()) == ["tasks"]


def test_files_are_rooms():
    files = [path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".pyx", ".pxd", ".inc", ".h", ".pyi"}]
    files += [path for path in PACKAGE.glob("_engine/vec/*.c")]
    assert len(files) > 150
    assert {path.name: lines for path in files
            if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 500} == {}
