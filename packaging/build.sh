#!/bin/sh
# Builds the Debian package for one architecture: build.sh [amd64|arm64|armhf]. The package ends up in target/debian.
set -eu
cd "$(dirname "$0")/.."

arch=${1:-amd64}
target_dir=${CARGO_TARGET_DIR:-target}
case $arch in
    amd64) triple=x86_64-unknown-linux-gnu cross= ;;
    arm64) triple=aarch64-unknown-linux-gnu cross=aarch64-linux-gnu libc=libc6-dev-arm64-cross ;;
    armhf) triple=armv7-unknown-linux-gnueabihf cross=arm-linux-gnueabihf libc=libc6-dev-armhf-cross ;;
    *)
        echo "$0: $arch is no architecture that is built; use amd64, arm64 or armhf" >&2
        exit 64
        ;;
esac

command -v cargo-deb >/dev/null || cargo install --locked --version 3.8.0 cargo-deb
cargo run --locked --quiet --package tidegate-assets -- target/assets

if [ "$(dpkg --print-architecture)" = "$arch" ]; then
    cargo build --locked --release --package tidegate
    exec cargo deb --locked --no-build --package tidegate --output "$target_dir/debian/"
fi

if ! command -v "$cross-gcc" >/dev/null || ! [ -d "/usr/$cross/lib" ]; then
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qq --yes --no-install-recommends "gcc-$cross" "$libc" >/dev/null
fi
if ! rustup target add "$triple" 2>/dev/null; then
    # Without rustup's server: Debian's own cross standard libraries, and the compiler that they belong to.
    RUSTC=$(packaging/debian-rustc.sh "$arch")
    export RUSTC
fi
name=$(echo "$triple" | tr a-z- A-Z_)
export "CARGO_TARGET_${name}_LINKER=$cross-gcc" "CC_$(echo "$triple" | tr - _)=$cross-gcc"
cargo build --locked --release --package tidegate --target "$triple"
exec cargo deb --locked --no-build --no-strip --package tidegate --target "$triple" --output "$target_dir/debian/"
