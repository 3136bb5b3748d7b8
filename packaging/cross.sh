# How to compile for $arch, to be sourced: its Rust triple, and a function that makes cargo compile for it.
# shellcheck shell=sh disable=SC2034,SC2154

case $arch in
    amd64) triple=x86_64-unknown-linux-gnu cross= ;;
    arm64) triple=aarch64-unknown-linux-gnu cross=aarch64-linux-gnu libc=libc6-dev-arm64-cross ;;
    armhf) triple=armv7-unknown-linux-gnueabihf cross=arm-linux-gnueabihf libc=libc6-dev-armhf-cross ;;
    armv6) triple=arm-unknown-linux-gnueabi cross=arm-linux-gnueabi libc=libc6-dev-armel-cross ;;
    *)
        echo "$0: $arch is no architecture that is built; use amd64, arm64, armhf or armv6" >&2
        exit 64
        ;;
esac

# Installs the cross compiler for $arch, where it is another architecture, and sets what cargo goes by.
use_cross_compiler() {
    [ "$(dpkg --print-architecture)" != "$arch" ] || return 0
    if ! command -v "$cross-gcc" >/dev/null || ! [ -d "/usr/$cross/lib" ]; then
        sudo=
        [ "$(id -u)" = 0 ] || sudo=sudo
        $sudo apt-get update -qq
        DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qq --yes --no-install-recommends "gcc-$cross" "$libc" >/dev/null
    fi
    if [ "$arch" = armv6 ]; then
        RUSTC=$(packaging/debian-rustc.sh source)
        sources=$(readlink -f "$("$RUSTC" --print sysroot)/lib/rustlib/src/rust")
        RUSTFLAGS="$RUSTFLAGS --remap-path-prefix=$sources=/rustc -C target-cpu=arm1176jzf-s -C target-feature=+crt-static"
        export RUSTC RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_unwind
        export CFLAGS_arm_unknown_linux_gnueabi="$CFLAGS -mcpu=arm1176jzf-s -mfloat-abi=softfp"
    elif ! rustup target add "$triple" 2>/dev/null; then
        # Without rustup's server: Debian's own cross standard libraries, and the compiler that they belong to.
        RUSTC=$(packaging/debian-rustc.sh "$arch")
        export RUSTC
    fi
    name=$(echo "$triple" | tr a-z- A-Z_)
    export "CARGO_TARGET_${name}_LINKER=$cross-gcc" "CC_$(echo "$triple" | tr - _)=$cross-gcc"
}
