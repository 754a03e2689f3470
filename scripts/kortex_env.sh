#!/usr/bin/env bash
# Makes .venv/kortex/python: the Python of .venv, but with the protobuf that Kinova's kortex_api needs.
#   scripts/kortex_env.sh                           protobuf alone: for a simulated arm, and for the tests
#   scripts/kortex_env.sh path/to/kortex_api.whl    with Kinova's package, from Kinova's download site
# The last line that it prints is the `interpreter` of an arm in the station file.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wheel="${1:-}"
if [ -n "$wheel" ] && [ ! -f "$wheel" ]; then
    echo "[kortex] there is no wheel '$wheel'; it comes from Kinova's download site" >&2
    exit 1
fi
if [ ! -x .venv/bin/python ]; then
    echo "[kortex] there is no .venv yet: make setup-robot, then again" >&2
    exit 1
fi

folder="$PWD/.venv/kortex"
packages="$folder/packages"
rm -rf "$folder"
mkdir -p "$packages"
install() { env -u PYTHONPATH .venv/bin/python -m pip install --quiet --disable-pip-version-check --target "$packages" "$@"; }
install --no-deps -r requirements/kortex.txt
if [ -n "$wheel" ]; then
    # It pins a protobuf that does not work with this Python; what else it needs is small.
    install --no-deps "$wheel"
    PYTHONPATH="$packages" .venv/bin/python - >"$folder/others.txt" <<'PYTHON'
from importlib.metadata import requires

print(*(line for line in requires("kortex_api") or () if not line.startswith("protobuf")), sep="\n")
PYTHON
    install --upgrade -r "$folder/others.txt"
fi

python="$folder/python"
cat >"$python" <<SCRIPT
#!/bin/sh
# The Python of .venv; what lies in packages comes first.
PYTHONPATH="$packages\${PYTHONPATH:+:\$PYTHONPATH}" exec "$PWD/.venv/bin/python" "\$@"
SCRIPT
chmod +x "$python"

"$python" -c 'from google.protobuf import __version__; import kinova_driver.kortex_arm; assert __version__ == "3.20.3"'
[ -z "$wheel" ] || "$python" -c 'from kinova_driver.kortex.api import official; print("[kortex]", official().name)'
echo "[kortex] interpreter:"
echo "$python"
