#!/bin/sh
# Installs the Debian packages that a step needs and this machine lacks: tools.sh STEP...
#
# This is the only script that installs packages on the machine. It prints their names first. It
# asks sudo for help when an ordinary user runs it. When nothing is missing it does nothing. It
# removes no package: syslog-ng is not installed where another system logger is.
set -eu

# Programs for the administrator, such as mosquitto, are not in the path of an ordinary user.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
missing=

# need PACKAGE PATH: PACKAGE is missing unless PATH, a command or an absolute path, exists.
need() {
    case $2 in
        /*) [ -e "$2" ] || missing="$missing $1" ;;
        *) command -v "$2" >/dev/null || missing="$missing $1" ;;
    esac
}

for step in "$@"; do
    case $step in
        ci)
            need make make
            ;;
        tests)
            need mosquitto mosquitto         # a real MQTT broker
            need strace strace               # makes system calls fail
            need mount mount                 # small file systems that fill up
            need util-linux unshare          # mounts that only one test sees
            need procps /bin/kill
            need curl curl
            need ca-certificates /etc/ssl/certs/ca-certificates.crt
            need python3 python3             # Losant's Python client
            python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
            need nodejs node                 # Losant's JavaScript client
            need npm npm
            ;;
        bench)
            need mosquitto mosquitto
            need valgrind valgrind
            need strace strace               # lets valgrind run on Linux 6.4 and newer
            ;;
        bench-syslog-ng)
            need syslog-ng-core syslog-ng
            ls /usr/lib/syslog-ng/*/libhttp.so >/dev/null 2>&1 || missing="$missing syslog-ng-mod-http"
            need mosquitto-clients mosquitto_sub
            ;;
        bench-script)
            need python3 python3
            python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
            ;;
        bench-node-red)
            need nodejs node
            need npm npm
            ;;
        check)
            need systemd systemd-analyze
            need shellcheck shellcheck
            need procps /bin/kill            # named by the unit's ExecReload=
            ;;
        root)
            need debootstrap debootstrap
            need util-linux unshare
            need mount mount
            ;;
        container)
            need systemd-container systemd-nspawn
            need python3 python3
            ;;
        emulator)
            need qemu-system-arm qemu-system-aarch64
            need cpio cpio
            need python3 python3
            ;;
        cross-arm64)
            need gcc-aarch64-linux-gnu aarch64-linux-gnu-gcc
            need libc6-dev-arm64-cross /usr/aarch64-linux-gnu/lib
            ;;
        cross-armhf)
            need gcc-arm-linux-gnueabihf arm-linux-gnueabihf-gcc
            need libc6-dev-armhf-cross /usr/arm-linux-gnueabihf/lib
            ;;
        cross-armv6)
            need gcc-arm-linux-gnueabi arm-linux-gnueabi-gcc
            need libc6-dev-armel-cross /usr/arm-linux-gnueabi/lib
            ;;
        *)
            echo "$0: unknown step \"$step\"" >&2
            exit 64
            ;;
    esac
done
[ -n "$missing" ] || exit 0

missing=$(echo "$missing" | tr -s ' ' '\n' | sort -u | xargs)
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
if ! command -v apt-get >/dev/null || { [ -n "$as_root" ] && ! command -v sudo >/dev/null; }; then
    echo "$0: cannot install packages here: it takes apt-get, and root or sudo" >&2
    echo "$0: install these Debian packages and try again: $missing" >&2
    exit 69
fi
echo "installing the missing Debian packages: $missing"
$as_root apt-get update -qq
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq --yes --no-remove --no-install-recommends $missing >/dev/null
