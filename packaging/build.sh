#!/bin/sh
# Builds a Debian package in target/debian:
# build.sh [amd64|arm64|armhf|armv6] [tidegate|tidegate-sandbox]
#
# armv6 is for a Pi Zero and a Pi 1. Debian's armhf is ARMv7, and its compilers bring no libraries
# for ARMv6. Raspberry Pi OS uses the name armhf, too, but for ARMv6. So the armv6 program is
# linked statically: with Debian's C library for older ARMs, which works on every ARM kernel, and
# with a Rust standard library that is compiled for ARMv6. The package has the architecture armhf
# and depends on no library.
set -eu
cd "$(dirname "$0")/.."

arch=${1:-amd64}
package=${2:-tidegate}
target_dir=${CARGO_TARGET_DIR:-target}
. packaging/cross.sh

# The build is reproducible: the package contains neither the paths nor the time of this build, so
# the same source makes the same package.
SOURCE_DATE_EPOCH=$(dpkg-parsechangelog --file packaging/debian/changelog --show-field Timestamp)
home=${CARGO_HOME:-$HOME/.cargo}
RUSTFLAGS="--remap-path-prefix=$home=/cargo --remap-path-prefix=$PWD=/tidegate"
CFLAGS="-ffile-prefix-map=$home=/cargo"
export SOURCE_DATE_EPOCH RUSTFLAGS CFLAGS

command -v cargo-deb >/dev/null || cargo install --locked --version 3.8.0 cargo-deb
RUSTFLAGS='' cargo run --locked --quiet --package tidegate-assets -- target/assets
RUSTFLAGS='' packaging/sbom.sh "$triple"

use_cross_compiler
cargo build --locked --release --package "$package" --target "$triple"
make_deb() { # make_deb OUTPUT
    cargo deb --locked --no-build --no-strip --package "$package" --target "$triple" --output "$1"
}
if [ "$arch" != armv6 ]; then
    make_deb "$target_dir/debian/"
    exit
fi

# cargo-deb would name the architecture armel.
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
make_deb "$tree/armel.deb"
dpkg-deb --raw-extract "$tree/armel.deb" "$tree/content"
sed -i 's/^Architecture: .*/Architecture: armhf/; s/libc6 ([^)]*), //; /^Depends: libc6/d' \
    "$tree/content/DEBIAN/control"
version=$(dpkg-deb --field "$tree/armel.deb" Version)
mkdir -p "$target_dir/debian"
dpkg-deb --root-owner-group -Zxz --build "$tree/content" \
    "$target_dir/debian/${package}_${version}_armv6.deb"
