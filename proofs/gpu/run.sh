#!/bin/sh
# Unpacks the pieces beside this script once, and proves the path through the GPU: sh run.sh [options of python -m proofs.gpu]
# "sh run.sh unpack" only unpacks. UNPACKED is the folder to unpack into. PYTHON is the Python to use. Needs no network.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
unpacked=${UNPACKED:-$here/unpacked}
python=${PYTHON:-}
for each in python@PYTHON@ python3 python; do
    [ -n "$python" ] || ! command -v "$each" >/dev/null || python=$each
done
found=$("${python:-python@PYTHON@}" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo no Python)
if [ "$found" != "@PYTHON@" ]; then
    echo "missing: Python @PYTHON@, for which this was packed; there is $found. Set PYTHON, or pack again with PYTHON_VERSION" >&2
    exit 2
fi
if [ ! -e "$unpacked/whole" ]; then
    while read -r digest piece; do
        [ -e "$here/$piece" ] || { echo "missing: $piece of $(wc -l <"$here/SHA256SUMS") pieces" >&2; exit 2; }
    done <"$here/SHA256SUMS"
    (cd "$here" && sha256sum --quiet --check SHA256SUMS) || { echo "a piece was damaged on its way: copy it again" >&2; exit 2; }
    mkdir -p "$unpacked"
    while read -r digest piece; do cat "$here/$piece"; done <"$here/SHA256SUMS" | tar -xzf - -C "$unpacked"
    "$python" -m venv --without-pip "$unpacked/venv" || { echo "missing: Python's module venv" >&2; exit 2; }
    printf '%s\n' "$unpacked" "$unpacked/site" >"$unpacked/venv/lib/python@PYTHON@/site-packages/packed.pth"
    touch "$unpacked/whole"
fi
[ "${1:-}" != unpack ] || { echo "unpacked into $unpacked"; exit 0; }
cd "$unpacked"
# NVIDIA's libraries may be installed for the Python that was found, and not for the new environment.
CUBLAS_PACKAGES=$("$python" -c 'import sys; print(":".join(filter(None, sys.path)))')
export CUBLAS_PACKAGES PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
exec "$unpacked/venv/bin/python" -m proofs.gpu --model "$unpacked/models/@MODEL@" --recordings "$unpacked/recordings" --output "$here/results" "$@"
