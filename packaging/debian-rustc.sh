#!/bin/sh
# Unpacks a Rust compiler from Debian's packages and prints its path:
# debian-rustc.sh arm64|armhf|source
#
# Nothing is installed. With "source" the compiler comes with the source of the standard library,
# which can then be compiled for another processor.
#
# The packages are rustc-web and its standard libraries. bookworm-security has a recent version of
# them. The library for armhf comes from trixie, which has the same version. apt uses its own
# directories, so the machine's architectures and package lists do not change.
set -eu
cd "$(dirname "$0")/.."

arch=$1
case $arch in
    source) library=rust-web-src/bookworm-security ;; # the same build as the compiler
    *) library=libstd-rust-web-dev:$arch ;;
esac
home=$PWD/${CARGO_TARGET_DIR:-target}
case ${CARGO_TARGET_DIR:-} in /*) home=$CARGO_TARGET_DIR ;; esac
home=$home/debian-rustc
root=$home/root
rustc=$home/rustc
libraries=$root/usr/lib/x86_64-linux-gnu:$root/usr/lib

if ! [ -e "$home/have-$arch" ]; then
    mirror=$(packaging/mirror.sh)
    apt=$home/apt
    mkdir -p "$apt/etc/apt/preferences.d" "$apt/etc/apt/apt.conf.d" \
        "$apt/var/lib/apt/lists/partial" "$apt/var/cache/apt/archives/partial" \
        "$apt/var/lib/dpkg" "$home/debs" "$root"
    : > "$apt/var/lib/dpkg/status"
    keys=signed-by=/usr/share/keyrings/debian-archive-keyring.gpg
    cat > "$apt/etc/apt/sources.list" <<SOURCES
deb [arch=amd64,arm64 $keys] $mirror-security bookworm-security main
deb [arch=amd64 $keys] $mirror bookworm main
deb [arch=armhf $keys] $mirror trixie main
SOURCES
    cat > "$apt/apt.conf" <<SETTINGS
Dir "$apt/";
Dir::Etc "etc/apt";
Dir::State::status "$apt/var/lib/dpkg/status";
APT::Architecture "amd64";
APT::Architectures { "amd64"; "arm64"; "armhf"; };
SETTINGS
    export APT_CONFIG="$apt/apt.conf"
    {
        apt-get update -qq
        cd "$home/debs"
        apt-get download -qq rustc-web:amd64 libstd-rust-web-1.96:amd64 \
            libstd-rust-web-dev:amd64 libllvm22:amd64 "$library"
        for package in *.deb; do
            dpkg -x "$package" "$root"
        done
    } >&2
    cat > "$rustc" <<WRAPPER
#!/bin/sh
LD_LIBRARY_PATH=$libraries exec $root/usr/bin/rustc "\$@"
WRAPPER
    chmod +x "$rustc"
    : > "$home/have-$arch"
fi
echo "$rustc"
