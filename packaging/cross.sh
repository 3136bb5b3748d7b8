# Prepares cross compilation for $arch. To be sourced: it sets $triple, Rust's name of the target,
# and $cross, the prefix of the C compiler, and defines use_cross_compiler.
# shellcheck shell=sh disable=SC2034,SC2154

case $arch in
    amd64) triple=x86_64-unknown-linux-gnu cross= ;;
    arm64) triple=aarch64-unknown-linux-gnu cross=aarch64-linux-gnu ;;
    armhf) triple=armv7-unknown-linux-gnueabihf cross=arm-linux-gnueabihf ;;
    armv6) triple=arm-unknown-linux-gnueabi cross=arm-linux-gnueabi ;;
    *)
        echo "$0: unknown architecture \"$arch\"; use amd64, arm64, armhf or armv6" >&2
        exit 64
        ;;
esac

# Installs the cross compiler for $arch and sets the environment variables by which cargo uses it.
# Does nothing when $arch is the architecture of this machine.
use_cross_compiler() {
    [ "$(dpkg --print-architecture)" != "$arch" ] || return 0
    packaging/tools.sh "cross-$arch"
    if [ "$arch" = armv6 ]; then
        RUSTC=$(packaging/debian-rustc.sh source)
        sources=$(readlink -f "$("$RUSTC" --print sysroot)/lib/rustlib/src/rust")
        RUSTFLAGS="$RUSTFLAGS --remap-path-prefix=$sources=/rustc"
        RUSTFLAGS="$RUSTFLAGS -C target-cpu=arm1176jzf-s -C target-feature=+crt-static"
        export RUSTC RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_unwind
        export CFLAGS_arm_unknown_linux_gnueabi="$CFLAGS -mcpu=arm1176jzf-s -mfloat-abi=softfp"
    elif ! rustup target add "$triple" 2>/dev/null; then
        # rustup cannot download the standard library: use Debian's, and the compiler that goes
        # with it.
        RUSTC=$(packaging/debian-rustc.sh "$arch")
        export RUSTC
    fi
    name=$(echo "$triple" | tr a-z- A-Z_)
    export "CARGO_TARGET_${name}_LINKER=$cross-gcc" "CC_$(echo "$triple" | tr - _)=$cross-gcc"
}
