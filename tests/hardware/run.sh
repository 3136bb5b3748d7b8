#!/bin/sh
# Tests GPIO on a real character device, and USB serial adapters that are plugged and unplugged.
#
# Boots an emulated arm64 computer and runs tests/hardware/init.sh in it. Line 3 of its GPIO chip
# (PL061) is the power button. It has the drivers of an FTDI adapter. Needs Rust's target for
# arm64. Takes some minutes.
set -eu
cd "$(dirname "$0")/../.."

triple=aarch64-unknown-linux-gnu
target_dir=${CARGO_TARGET_DIR:-target}
work=$target_dir/hardware
cross=/usr/aarch64-linux-gnu/lib
packaging/tools.sh emulator cross-arm64

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
cargo build --locked --target "$triple" --package tidegate --package tidegate-sandbox

# Download Debian's kernel and busybox for arm64. apt uses its own directories, so this machine's
# architectures and package lists do not change.
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
work=$(cd "$work" && pwd)
if ! [ -d "$work/packages/boot" ]; then
    foreign() {
        command=$1
        shift
        "$command" -o APT::Architecture=arm64 -o APT::Architectures=arm64 \
            -o Dir::State::lists="$work/lists" -o Dir::State::status=/dev/null \
            -o Dir::Cache="$work/cache" "$@"
    }
    foreign apt-get -qq update
    kernel=$(foreign apt-cache depends linux-image-arm64 |
        sed -n 's/.*Depends: \(linux-image-.*\)/\1/p' | head -n 1)
    (cd "$work" && foreign apt-get -qq download "$kernel" busybox-static)
    for package in "$work"/*.deb; do dpkg-deb --extract "$package" "$work/packages"; done
fi

root=$work/root
rm -rf "$root"
mkdir -p "$root/bin" "$root/etc" "$root/lib"
cp "$work/packages/bin/busybox" "$root/bin/"
for program in tidegate tidegate-sandbox; do
    aarch64-linux-gnu-strip -o "$root/bin/$program" "$target_dir/$triple/debug/$program"
done
for library in ld-linux-aarch64.so.1 libc.so.6 libgcc_s.so.1 libm.so.6; do
    cp -L "$cross/$library" "$root/lib/"
done
mkdir -p "$root/etc/ssl/certs"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
mkdir "$root/lib/drivers"
for driver in common/usb-common core/usbcore host/xhci-hcd host/xhci-pci serial/usbserial \
    serial/ftdi_sio; do
    cp "$work"/packages/lib/modules/*/kernel/drivers/usb/"$driver.ko" "$root/lib/drivers/"
done
cp tests/hardware/tidegate.toml "$root/etc/"
printf 'key = "gateway-key"\nsecret = "gateway-secret"\n' >"$root/etc/credentials.toml"
chmod 600 "$root/etc/credentials.toml"
cp tests/hardware/init.sh "$root/init"
chmod 755 "$root/init"
(cd "$root" && find . | cpio --quiet --create --format=newc | gzip -1) >"$work/initrd.gz"
exec python3 tests/hardware/machine.py "$work"/packages/boot/vmlinuz-* "$work/initrd.gz"
