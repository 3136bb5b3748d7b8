#!/bin/sh
# Lists the crates of the programs, as CycloneDX files in target/assets/sbom: sbom.sh [TRIPLE]
#
# TRIPLE is Rust's name of the platform, by default this machine's.
set -eu
cd "$(dirname "$0")/.."

triple=${1:-$(rustc -vV | sed -n 's/^host: //p')}
directory=target/assets/sbom

command -v cargo-cyclonedx >/dev/null || cargo install --locked --version 0.5.9 cargo-cyclonedx
# cargo-cyclonedx writes a file next to each manifest of the workspace. The files contain the path
# of this checkout, which sed replaces.
trap 'find . -name sbom.cdx.json -not -path "./target/*" -delete' EXIT
cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$triple" \
    --override-filename sbom.cdx
mkdir -p "$directory"
copy() { # copy FILE NAME
    sed "s#path+file://$PWD#path+file:///tidegate#g" "$1" >"$directory/$2.cdx.json"
}
copy sbom.cdx.json tidegate
copy sandbox/sbom.cdx.json tidegate-sandbox
