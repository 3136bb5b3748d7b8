#!/bin/sh
# Installs what the tests need and this machine lacks: Debian packages, and Losant's own clients.
set -eu
cd "$(dirname "$0")/.."

packaging/tools.sh tests

# The clients are installed again when their versions in tests/conformance change.
judge=target/judge
pins=tests/conformance
if ! cat "$pins/requirements.txt" "$pins/package.json" | cmp -s - "$judge/installed"; then
    echo "installing the Python and JavaScript clients in $judge"
    rm -rf "$judge"
    python3 -m venv "$judge"
    "$judge/bin/pip" install --quiet --disable-pip-version-check \
        --requirement "$pins/requirements.txt"
    cp "$pins/package.json" "$judge/"
    npm --prefix "$judge" install --package-lock=false --no-audit --no-fund --loglevel=error
    cat "$pins/requirements.txt" "$pins/package.json" >"$judge/installed"
fi
