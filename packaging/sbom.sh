#!/bin/sh
# Writes what the programs are made of, in CycloneDX, for one platform: sbom.sh [TRIPLE]. Into target/assets/sbom.
set -eu
cd "$(dirname "$0")/.."

triple=${1:-$(rustc -vV | sed -n 's/^host: //p')}
directory=target/assets/sbom

command -v cargo-cyclonedx >/dev/null || cargo install --locked --version 0.5.9 cargo-cyclonedx
# It writes beside each manifest of the workspace, and names the directory of this build.
trap 'rm -f sbom.cdx.json sandbox/sbom.cdx.json demo/sbom.cdx.json packaging/assets/sbom.cdx.json' EXIT
cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$triple" --override-filename sbom.cdx
mkdir -p "$directory"
sed "s#path+file://$PWD#path+file:///tidegate#g" sbom.cdx.json > "$directory/tidegate.cdx.json"
sed "s#path+file://$PWD#path+file:///tidegate#g" sandbox/sbom.cdx.json > "$directory/tidegate-sandbox.cdx.json"
