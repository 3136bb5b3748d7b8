#!/bin/sh
# GPIO on a real character device, and serial lines on USB adapters that are pulled: boots an emulated arm64 computer whose chip
# (PL061) has its line 3 on the power button, with the drivers of an FTDI adapter, and runs tests/hardware/init.sh in it. Needs apt, dpkg-deb, cpio, a cross compiler for arm64 and its Rust target. Takes some minutes.
set -eu
cd "$(dirname "$0")/../.."

triple=aarch64-unknown-linux-gnu
target_dir=${CARGO_TARGET_DIR:-target}
work=$target_dir/hardware
cross=/usr/aarch64-linux-gnu/lib
missing=
command -v qemu-system-aarch64 >/dev/null || missing="$missing qemu-system-arm"
command -v cpio >/dev/null || missing="$missing cpio"
command -v python3 >/dev/null || missing="$missing python3"
{ command -v aarch64-linux-gnu-gcc && [ -d "$cross" ]; } >/dev/null ||
    missing="$missing gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
if [ -n "$missing" ]; then
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qq --yes --no-install-recommends $missing >/dev/null
fi

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
cargo build --locked --target "$triple" --package tidegate --package tidegate-sandbox

# Debian's kernel and busybox for arm64, without telling this computer's apt of another architecture.
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
work=$(cd "$work" && pwd)
if ! [ -d "$work/packages/boot" ]; then
    foreign() {
        apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::lists="$work/lists" \
            -o Dir::State::status=/dev/null -o Dir::Cache="$work/cache" "$@"
    }
    foreign update
    kernel=$(apt-cache -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::lists="$work/lists" \
        -o Dir::State::status=/dev/null -o Dir::Cache="$work/cache" depends linux-image-arm64 |
        sed -n 's/.*Depends: \(linux-image-.*\)/\1/p' | head -n 1)
    (cd "$work" && foreign download "$kernel" busybox-static)
    for package in "$work"/*.deb; do dpkg-deb --extract "$package" "$work/packages"; done
fi

root=$work/root
rm -rf "$root"
mkdir -p "$root/bin" "$root/etc" "$root/lib"
cp "$work/packages/bin/busybox" "$root/bin/"
cp "$target_dir/$triple/debug/tidegate" "$target_dir/$triple/debug/tidegate-sandbox" "$root/bin/"
aarch64-linux-gnu-strip "$root/bin/tidegate" "$root/bin/tidegate-sandbox"
for library in ld-linux-aarch64.so.1 libc.so.6 libgcc_s.so.1 libm.so.6; do cp -L "$cross/$library" "$root/lib/"; done
mkdir -p "$root/etc/ssl/certs"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
mkdir "$root/lib/drivers"
for driver in common/usb-common core/usbcore host/xhci-hcd host/xhci-pci serial/usbserial serial/ftdi_sio; do
    cp "$work"/packages/lib/modules/*/kernel/drivers/usb/"$driver.ko" "$root/lib/drivers/"
done
cp tests/hardware/tidegate.toml "$root/etc/"
printf 'key = "gateway-key"\nsecret = "gateway-secret"\n' >"$root/etc/credentials.toml"
chmod 600 "$root/etc/credentials.toml"
cp tests/hardware/init.sh "$root/init"
chmod 755 "$root/init"
(cd "$root" && find . | cpio --quiet --create --format=newc | gzip -1) >"$work/initrd.gz"
exec python3 tests/hardware/machine.py "$work"/packages/boot/vmlinuz-* "$work/initrd.gz"
