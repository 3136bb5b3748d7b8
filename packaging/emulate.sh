#!/bin/sh
# Boots an emulated computer and runs the demo in it, with the daemon of a package:
# emulate.sh [arm64|armhf]
#
# The kernel and the C library come from Debian. The package must be in target/debian. Takes some
# minutes.
set -eu
cd "$(dirname "$0")/.."

arch=${1:-arm64}
target_dir=${CARGO_TARGET_DIR:-target}
TIMEOUT_S=1800
case $arch in
    arm64) kernel=linux-image-arm64 machine='qemu-system-aarch64 -M virt -cpu cortex-a53' ;;
    armhf) kernel=linux-image-armmp-lpae machine='qemu-system-arm -M virt -cpu cortex-a15' ;;
    *)
        echo "$0: unknown architecture \"$arch\"; use arm64 or armhf" >&2
        exit 64
        ;;
esac
. packaging/cross.sh

packaging/tools.sh emulator

RUSTFLAGS='' CFLAGS=''
export RUSTFLAGS CFLAGS
use_cross_compiler
# Emulation is slow: optimise the sandbox a little.
export CARGO_PROFILE_DEV_OPT_LEVEL=1
cargo build --locked --target "$triple" --package tidegate-demo

# Download the kernel and the C library for that architecture. apt uses its own directories, so
# this machine's architectures and package lists do not change.
work=$target_dir/emulated/$arch
mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/debs"
work=$(cd "$work" && pwd)
foreign() {
    command=$1
    shift
    "$command" -o APT::Architecture="$arch" -o APT::Architectures="$arch" \
        -o Dir::State::lists="$work/apt/lists" -o Dir::State::status=/dev/null \
        -o Dir::Cache="$work/apt/cache" "$@"
}
parts=$work/parts
if ! [ -d "$parts" ]; then
    foreign apt-get -qq update || true # one broken index may be one that is not needed
    kernel=$(foreign apt-cache depends "$kernel" |
        sed -n 's/.*Depends: \(linux-image-.*\)/\1/p' | head -n 1)
    (cd "$work/debs" && foreign apt-get -qq download "$kernel" busybox-static libc6 libgcc-s1)
    for package in "$work"/debs/*.deb; do dpkg-deb --extract "$package" "$parts.new"; done
    mv "$parts.new" "$parts"
fi

root=$work/root
rm -rf "$root"
mkdir -p "$root/bin" "$root/etc/ssl/certs"
cp "$parts/bin/busybox" "$root/bin/"
cp -a "$parts/lib" "$root/"
rm -rf "$root/lib/modules"
dpkg-deb --extract "$target_dir"/debian/tidegate_*_"$arch".deb "$root/package"
mv "$root/package/usr/bin/tidegate" "$root/bin/"
rm -r "$root/package"
"$cross-strip" -o "$root/bin/tidegate-demo" "$target_dir/$triple/debug/tidegate-demo"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cat >"$root/init" <<INIT
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /run
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc p /proc
mount -t sysfs s /sys
mount -t devtmpfs d /dev
mkdir -p /dev/pts
mount -t devpts d /dev/pts
ifconfig lo 127.0.0.1 up
date -s @$(date +%s) >/dev/null
uname -a
# The pipe makes the demo print lines: a terminal would get a picture that is redrawn.
(tidegate-demo --tidegate /bin/tidegate; echo "the demo ended with \$?") 2>&1 | cat
poweroff -f
INIT
chmod 755 "$root/init"
(cd "$root" && find . | cpio --quiet --create --format=newc | gzip -1) >"$work/initrd.gz"

# shellcheck disable=SC2086
timeout "$TIMEOUT_S" $machine -smp 2 -m 1024 -display none -nodefaults -net none -no-reboot \
    -serial stdio -kernel "$parts"/boot/vmlinuz-* -initrd "$work/initrd.gz" \
    -append 'console=ttyAMA0 quiet panic=-1' </dev/null | tee "$work/log"
grep -q 'the demo ended with 0' "$work/log"
