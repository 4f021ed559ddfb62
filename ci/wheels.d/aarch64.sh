# Sourced by ci/wheels.sh: a wheel for Linux on aarch64, made by a cross compiler, with its smoke test and the vector
# kernels' tests under qemu.
# Debian's Python for arm64 is unpacked into a folder (debian.sh).

cross_build() {    # the wheel, repaired, in $scratch/aarch64/dist
    printf '#!/bin/sh\nexec "%s" cc -target aarch64-linux-gnu.2.28 "$@"\n' "$ZIG" > "$scratch/cc-aarch64"
    chmod +x "$scratch/cc-aarch64"
    (cd "$source" && CC=$scratch/cc-aarch64 LDSHARED="$scratch/cc-aarch64 -shared" _PYTHON_HOST_PLATFORM=linux-aarch64 \
        "$BIN/python" -m build --wheel --no-isolation --outdir "$scratch/aarch64/raw" .) &&
        PATH="$BIN:$PATH" "$BIN/auditwheel" repair -w "$scratch/aarch64/dist" "$scratch"/aarch64/raw/*.whl
}

find_qemu() {    # sets QEMU; Debian's qemu-user is linked statically from 13 on, before there is qemu-user-static
    QEMU=$(command -v qemu-aarch64-static || command -v qemu-aarch64 || true)
    [ -z "$QEMU" ] || return 0
    for package in qemu-user-static qemu-user; do
        rm -rf "$scratch"/apt-*/cache/archives/*.deb
        quietly unpack "$(dpkg --print-architecture)" "$scratch/qemu" $package || return 1
        for QEMU in "$scratch"/qemu/usr/bin/qemu-aarch64*; do
            case $QEMU in *_be*) continue ;; esac
            if "$QEMU" --version > "$scratch/log" 2>&1; then return 0; fi
        done
    done
    return 1
}

emulated() {    # emulated ARGUMENTS...: the arm64 Python
    "$QEMU" -L "$root" -E PYTHONHOME="$root/usr" -E PYTHONPATH="$scratch/aarch64/site" "$root/usr/bin/python3" "$@"
}

run_aarch64() {
    try "a wheel for aarch64, cross-built and repaired" cross_build || return 1
    foreign=$(echo "$scratch"/aarch64/dist/*.whl)
    if echo "$foreign" | grep -Eq -- "$allowed"; then
        passed "$(basename "$foreign"), $(wc -c < "$foreign") bytes: for manylinux_2_28 or older"
    else
        failed "$(basename "$foreign") needs a newer system than manylinux_2_28"
        return 1
    fi
    case $foreign in
    *-abi3-*) try "abi3audit --strict on it" "$BIN/abi3audit" --strict "$foreign" || return 1 ;;
    *) skipped "running the aarch64 wheel: it is for the building Python alone"; return 0 ;;
    esac
    if ! have_apt; then
        skipped "running the aarch64 wheel: Debian's packages cannot be had here"
        return 0
    fi
    root=$scratch/root
    if ! find_qemu || ! quietly unpack arm64 "$root" python3 libstdc++6 libgomp1; then
        skipped "running the aarch64 wheel: apt has no qemu or no Python for arm64 here"
        return 0
    fi
    python=$(emulated -c 'import sys; print(f"3.{sys.version_info.minor}")') || {
        failed "Python for arm64 does not start under qemu"
        return 1
    }
    pip_into "$scratch/aarch64/site" "$python" aarch64 "$foreign" || return 1
    quietly "$BIN/python" -m pip install --target "$scratch/aarch64/site" pytest || return 1     # pure Python
    began=$(date +%s)
    if (cd "$scratch" && emulated "$OLDPWD/ci/smoke.py") > "$scratch/smoke" 2>&1; then
        passed "under qemu in $(($(date +%s) - began)) s: $(tail -n 1 "$scratch/smoke")"
    else
        cat "$scratch/smoke"
        failed "the smoke test of the aarch64 wheel under qemu"
        return 1
    fi
    # NEON has vectors and tiles of its own; -P: the wheel, not the sources in this folder
    try "the tests of the vector kernels under qemu" emulated -P -m pytest -q -p no:cacheprovider --sample 7 tests/engine/vec
}
