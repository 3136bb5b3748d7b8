#!/bin/sh
# Installs what the tests need and this machine lacks: a real MQTT broker, strace to fail calls, and Losant's own
# clients as judges.
set -eu
cd "$(dirname "$0")/.."

missing=
command -v mosquitto >/dev/null || test -x /usr/sbin/mosquitto || missing="$missing mosquitto"
command -v strace >/dev/null || missing="$missing strace"
command -v python3 >/dev/null || missing="$missing python3"
python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
command -v node >/dev/null || missing="$missing nodejs"
command -v npm >/dev/null || missing="$missing npm"
if [ -n "$missing" ]; then
    echo "installing$missing"
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qq --yes --no-install-recommends $missing >/dev/null
fi

# The judges are installed again when what they are made of has changed.
judge=target/judge
pins=tests/conformance
if ! cat "$pins/requirements.txt" "$pins/package.json" | cmp -s - "$judge/installed"; then
    rm -rf "$judge"
    python3 -m venv "$judge"
    "$judge/bin/pip" install --quiet --disable-pip-version-check --requirement "$pins/requirements.txt"
    cp "$pins/package.json" "$judge/"
    npm --prefix "$judge" install --package-lock=false --no-audit --no-fund --loglevel=error
    cat "$pins/requirements.txt" "$pins/package.json" > "$judge/installed"
fi
