# Sourced by the scripts of this folder: the root of the repository, a clean environment, the virtual environment.
# VENV names the virtual environment (.venv), PYTHON the interpreter that makes it (the first that is 3.11 or newer).
set -eu
cd "$(dirname "$0")/.."

# Both hold OpenBLAS to another processor's kernels; a PYTHONPATH could put another copy of the package in front.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE PYTHONPATH
export PIP_DISABLE_PIP_VERSION_CHECK=1

VENV=${VENV:-.venv}

find_python() {
    for candidate in ${PYTHON:-python3 python3.15 python3.14 python3.13 python3.12 python3.11 python}; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "No Python 3.11 or newer with venv was found; name one: PYTHON=/path/to/python $0" >&2
    return 1
}

make_venv() {    # make_venv FOLDER: a virtual environment, unless it is there; its programs are then in $BIN
    if [ ! -f "$1/pyvenv.cfg" ]; then
        python=$(find_python)
        "$python" -m venv "$1"
    fi
    BIN=$1/bin
    [ -d "$BIN" ] || BIN=$1/Scripts
    case $BIN in /*) ;; *) BIN=$PWD/$BIN ;; esac
}

install_package() {    # the package with what its tests and its demo need; an editable installation stays one
    make_venv "$VENV"
    case $("$BIN/python" ci/installed.py state) in
    current)
        return ;;
    editable)
        echo "ldl_cy in $VENV is this folder (an editable installation): it is built in place, and that is tested"
        install_editable
        return ;;
    elsewhere)
        echo "ldl_cy in $VENV is the folder $("$BIN/python" ci/installed.py where) (an editable installation)." >&2
        echo "It is left alone; name another environment: VENV=folder $0" >&2
        exit 1 ;;
    esac
    key=$("$BIN/python" ci/installed.py key)
    clean_build
    "$BIN/python" -m pip install --quiet ".[test,plot]"
    "$BIN/python" ci/installed.py record "$key"
}

install_editable() {    # the package in this folder, with what a developer needs; compiled once, in place
    asked=$("$BIN/python" ci/installed.py asked)
    if [ "$("$BIN/python" ci/installed.py state)" != editable ] || [ "$asked" != "$(cat "$VENV/ldl_cy.asked" 2>&1)" ]; then
        echo "$VENV: installing, and compiling what is out of date ..."
        install_build_requirements
        # without isolation, so that this and each later build use the same tools, and the same objects
        "$BIN/python" -m pip install --quiet --no-build-isolation --editable ".[test,plot,lint]"
        echo "$asked" > "$VENV/ldl_cy.asked"
    fi
    "$BIN/python" setup.py --quiet build_ext --inplace
}

clean_build() {    # setuptools would ship what an earlier build left in build/lib and the source no longer has
    rm -rf build/lib* build/bdist*
}

install_build_requirements() {    # what setup.py imports
    "$BIN/python" -c 'import tomllib
with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["build-system"]["requires"], sep="\n")' > "$VENV/build.txt"
    "$BIN/python" -m pip install --quiet -r "$VENV/build.txt"
}

install_tools() {    # install_tools EXTRA: what one extra of pyproject.toml lists, without the package
    "$BIN/python" -c 'import sys, tomllib
with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["project"]["optional-dependencies"][sys.argv[1]], sep="\n")' "$1" > "$VENV/$1.txt"
    "$BIN/python" -m pip install --quiet -r "$VENV/$1.txt"
}
