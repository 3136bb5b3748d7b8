#!/bin/sh
# Builds a Debian package: build.sh [amd64|arm64|armhf|armv6] [tidegate|tidegate-sandbox]. It ends up in target/debian.
#
# armv6 is for a Pi Zero and a Pi 1. Debian's armhf is ARMv7, and its compilers have no ARMv6 code to link with; Raspberry Pi OS calls
# itself armhf, too, and is ARMv6. So that program is linked statically, with Debian's C library for older ARMs, which is fit for
# every ARM kernel, and with a Rust library that is built for it. The package says armhf, and needs no library.
set -eu
cd "$(dirname "$0")/.."

arch=${1:-amd64}
package=${2:-tidegate}
target_dir=${CARGO_TARGET_DIR:-target}
. packaging/cross.sh

# The same source makes the same package, wherever and whenever: no path and no time of this build is in it.
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
[ "$arch" = armv6 ] || exec cargo deb --locked --no-build --no-strip --package "$package" --target "$triple" --output "$target_dir/debian/"

# cargo-deb would call it armel.
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
cargo deb --locked --no-build --no-strip --package "$package" --target "$triple" --output "$tree/armel.deb"
dpkg-deb --raw-extract "$tree/armel.deb" "$tree/content"
sed -i 's/^Architecture: .*/Architecture: armhf/; s/libc6 ([^)]*), //; /^Depends: libc6/d' "$tree/content/DEBIAN/control"
version=$(dpkg-deb --field "$tree/armel.deb" Version)
mkdir -p "$target_dir/debian"
dpkg-deb --root-owner-group -Zxz --build "$tree/content" "$target_dir/debian/${package}_${version}_armv6.deb"
