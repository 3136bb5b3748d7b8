#!/bin/sh
# Installs the programs that tidegate is measured against: prepare.sh DIRECTORY
#
# A program that cannot be installed is left out of the measurement, and a line says so. Python's
# and JavaScript's packages go to DIRECTORY, with the versions in benches/suite/peers.
set -eu
cd "$(dirname "$0")/../.."

directory=$1
pins=benches/suite/peers

left_out() { # left_out PROGRAM
    echo "$0: $1 cannot be installed; it is left out" >&2
}

packaging/tools.sh bench
packaging/tools.sh bench-syslog-ng || left_out syslog-ng
packaging/tools.sh bench-script || left_out "the script"
packaging/tools.sh bench-node-red || left_out Node-RED

if ! cat "$pins/requirements.txt" "$pins/package.json" | cmp -s - "$directory/installed"; then
    echo "installing the Python and JavaScript packages in $directory"
    rm -rf "$directory"
    mkdir -p "$directory"
    { python3 -m venv "$directory/python" &&
        "$directory/python/bin/pip" install --quiet --disable-pip-version-check \
            --requirement "$pins/requirements.txt"; } || {
        rm -rf "$directory/python"
        left_out "the script"
    }
    cp "$pins/package.json" "$directory/"
    npm --prefix "$directory" install --ignore-scripts --package-lock=false --no-audit --no-fund \
        --loglevel=error || {
        rm -rf "$directory/node_modules"
        left_out Node-RED
    }
    cat "$pins/requirements.txt" "$pins/package.json" >"$directory/installed"
fi
