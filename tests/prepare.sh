#!/bin/sh
# Installs what the tests need and this machine lacks: a real MQTT broker, and Losant's own Python client as a judge.
set -eu
cd "$(dirname "$0")/.."

missing=
command -v mosquitto >/dev/null || test -x /usr/sbin/mosquitto || missing="$missing mosquitto"
command -v python3 >/dev/null || missing="$missing python3"
python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
if [ -n "$missing" ]; then
    echo "installing$missing"
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qq --yes --no-install-recommends $missing >/dev/null
fi

judge=target/judge
if ! "$judge/bin/python" -c 'import losant_rest' 2>/dev/null; then
    rm -rf "$judge"
    python3 -m venv "$judge"
    "$judge/bin/pip" install --quiet --disable-pip-version-check --requirement tests/conformance/requirements.txt
fi
