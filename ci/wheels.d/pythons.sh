# Sourced by ci/wheels.sh and ci/freethreading: the CPythons of this machine, and the wheel on each of them.

found_pythons() {    # lines "3.12 /path/to/python", "3.14t /path", the first of each version, oldest version first
    {
        # shellcheck disable=SC2086    # a list
        printf '%s\n' ${MORE_PYTHONS:-} ${PYTHON:-} python3
        (IFS=:; for folder in $PATH; do ls "$folder"/python3.[1-9][0-9] "$folder"/python3.[1-9][0-9]t; done) 2>/dev/null || true
        # those of pyenv, uv and the manylinux images
        ls -d "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3 \
            "${XDG_DATA_HOME:-$HOME/.local/share}"/uv/python/cpython-*/bin/python3 /opt/python/cp3*/bin/python 2>/dev/null || true
    } | while read -r candidate; do
        "$candidate" -c '
import sys, sysconfig, venv, ensurepip
from pathlib import Path
if sys.version_info < (3, 11) or sys.implementation.name != "cpython":
    sys.exit()
free = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
headers = Path(sysconfig.get_path("include"), "Python.h").exists()
print(f"3.{sys.version_info.minor}{free} {sys.executable} {int(headers)}")' 2>/dev/null || true
    done | awk '!seen[$1]++' | sort -V
}

building_python() {    # 3.11, which alone makes the wheel for all; else any with headers
    awk '$3 == 1 && (!best || $1 == "3.11") { if (!best || $1 == "3.11") best = $2 } END { print best }' \
        "$scratch/pythons"
}

smoke() {    # smoke FOLDER TITLE PIP-ARGUMENTS...: install into a new environment there and run ci/smoke.py
    folder=$1
    title=$2
    shift 2
    if quietly "$folder/bin/python" -m pip install "$@" && quietly "$folder/bin/python" -m pip check \
            && (cd "$scratch" && "$folder/bin/python" "$OLDPWD/ci/smoke.py") > "$scratch/smoke" 2>&1; then
        passed "$title: $(tail -n 1 "$scratch/smoke")"
    else
        cat "$scratch/smoke"
        failed "$title"
        return 1
    fi
}

try_pythons() {    # the wheel with the newest versions on each Python, and with the oldest on 3.11
    fault=0
    newer=
    tried=
    built=$("$BIN/python" -c 'import sys; print(f"3.{sys.version_info.minor}")')
    while read -r version python _; do
        case $version:$wheel in
        "$built":* | *[0-9]:*-abi3-*) ;;
        *) skipped "$version: $(basename "$wheel") is not for it"; continue ;;
        esac
        folder=$scratch/$version
        quietly "$python" -m venv "$folder"
        # what NumPy and the others do not yet have wheels for is no fault of this one
        if [ "$version" != "$built" ]; then
            newer="$newer $version"
            if ! "$folder/bin/python" -m pip install --quiet --only-binary :all: numpy scipy scikit-learn \
                    > "$scratch/log" 2>&1; then
                skipped "$version: no wheels of NumPy, SciPy and scikit-learn, says pip: $(tail -n 1 "$scratch/log")"
                continue
            fi
            tried="$tried $version"
        fi
        smoke "$folder" "$version, newest versions" "$wheel" || fault=1
    done < "$scratch/pythons"
    if [ "$built" = 3.11 ]; then
        quietly "$BIN/python" -m venv "$scratch/oldest"
        smoke "$scratch/oldest" "3.11, oldest versions" -c ci/oldest.txt "$wheel" || fault=1
    else
        skipped "the oldest versions: they need CPython 3.11"
    fi
    if [ -n "$newer" ] && [ -z "$tried" ]; then
        failed "none of the newer Pythons ($newer ) could be tried"
        fault=1
    elif [ -z "$newer" ]; then
        skipped "a newer Python than the building one: none is here"
    fi
    return $fault
}
