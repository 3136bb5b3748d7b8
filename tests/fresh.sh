#!/bin/sh
# Runs the README's commands on fresh machines, as root: fresh.sh [machine] [container]
#
# A fresh machine is a minimal Debian 12 with gcc, make and Rust, in a directory. There are two
# kinds; the default is one after the other:
#   machine    root has all capabilities of this machine's root. A skipped test is a failure.
#   container  root has the capabilities of a Docker container, and may not mount file systems.
#              Tests that need mounts must be skipped, and counted.
#
# The checkout is the last commit. Rust, the downloaded crates, the certificates and the
# configuration of apt, pip and npm come from this machine.
#
# FRESH_COMMANDS replaces "make demo && make test". FRESH_KEEP=1 keeps the crates that the last run
# compiled.
set -eu
cd "$(dirname "$0")/.."

script=$PWD/tests/fresh.sh
work=$PWD/target/fresh
commands=${FRESH_COMMANDS:-make demo && make test}

# The capabilities that Docker grants by default.
docker_capabilities=chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service
docker_capabilities=$docker_capabilities,net_raw,sys_chroot,mknod,audit_write,setfcap

copy() { # copy PATH TARGET: replaces TARGET by the file or directory, if there is one
    [ -e "$1" ] || return 0
    rm -rf "$2"
    mkdir -p "$(dirname "$2")"
    # A certificate may be a dangling link, which is not worth a failure.
    cp -rL "$1" "$2" || true
}

# Prints the names of the environment variables that configure downloads.
download_variables() {
    env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p' | while read -r name; do
        case $name in
            *_proxy | *_PROXY | *CERT* | *_CA_* | *CAINFO | PIP_* | npm_config_* | NPM_CONFIG_* | \
                CARGO_HTTP_* | CARGO_NET_* | CARGO_REGISTR* | CARGO_SOURCE_*) echo "$name" ;;
        esac
    done
}

# Copies what this machine's downloads depend on into $root.
copy_configuration() {
    apt-config dump | grep '^Acquire::' >"$root/etc/apt/apt.conf.d/90host" || true
    for path in /etc/apt/auth.conf /etc/apt/auth.conf.d /etc/resolv.conf /etc/hosts \
        /etc/ssl/certs /usr/local/share/ca-certificates /etc/pip.conf /etc/npmrc /usr/etc/npmrc \
        /usr/local/etc/npmrc; do
        copy "$path" "$root$path"
    done
    for path in .npmrc .pip .config/pip; do
        copy "$HOME/$path" "$root/root/$path"
    done
    for name in $(download_variables); do
        value=$(printenv "$name")
        case $value in
            /*) [ -e "$root$value" ] || copy "$value" "$root$value" ;;
        esac
    done
    cargo_home=${CARGO_HOME:-$HOME/.cargo}
    for path in config.toml registry/cache registry/index; do
        copy "$cargo_home/$path" "$root/root/.cargo/$path"
    done
}

# Makes a machine in $root, with a checkout in /root/tidegate.
make_machine() {
    packaging/debian-root.sh "$work/base" gcc,libc6-dev,make,ca-certificates
    rm -rf --one-file-system "$root" "$work/build/judge"
    cp -a "$work/base" "$root"
    copy_configuration
    mkdir -p "$root/opt/rust" "$root/root/tidegate/target" "$work/build"
    git archive HEAD | tar --extract --directory "$root/root/tidegate"
}

# Mounts the rest of the machine. Must run in a mount namespace of its own.
mount_machine() {
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount -t tmpfs -o mode=755 dev "$root/dev"
    for device in null zero full random urandom tty; do
        : >"$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
    mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    mount --bind "$(rustc --print sysroot)" "$root/opt/rust"
    mount -o remount,bind,ro "$root/opt/rust"
    # Both kinds of machine share the compiled crates.
    mount --bind "$work/build" "$root/root/tidegate/target"
}

# Runs the commands in the machine. This shell is the first process of the machine.
run_inside() { # run_inside KIND
    mount_machine
    set -- "$1" HOME=/root \
        PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    for name in $(download_variables); do
        value=$(printenv "$name")
        set -- "$@" "$name=$value"
    done
    kind=$1
    shift
    case $kind in
        machine)
            set -- chroot "$root" env -i "$@" TEST_SKIPS=deny
            ;;
        container)
            set -- setpriv --inh-caps=-all \
                --bounding-set="-all,+$(echo "$docker_capabilities" | sed 's/,/,+/g')" \
                chroot "$root" env -i "$@"
            ;;
    esac
    "$@" sh -c "cd /root/tidegate && $commands"
}

if [ "${1:-}" = --inside ]; then
    root=$work/$2
    run_inside "$2"
    exit
fi

if [ "$(id -u)" != 0 ]; then
    echo "$0: only root can make a fresh machine" >&2
    exit 77
fi
[ -z "$(git status --porcelain)" ] || echo "note: changes that are not committed are not tested"
[ -n "${FRESH_KEEP:-}" ] || rm -rf "$work/build"
[ $# != 0 ] || set -- machine container
for kind in "$@"; do
    case $kind in
        machine | container) ;;
        *)
            echo "$0: unknown kind \"$kind\"; use machine or container" >&2
            exit 64
            ;;
    esac
    root=$work/$kind
    make_machine
    echo "== fresh $kind: $commands"
    started=$(date +%s)
    rm -f "$work/build/skipped-tests"
    unshare --mount --pid --fork --kill-child "$script" --inside "$kind"
    if [ "$kind" = container ] && [ -z "${FRESH_COMMANDS:-}" ]; then
        [ -s "$work/build/skipped-tests" ] || {
            echo "$0: root of the container could mount file systems: nothing was skipped" >&2
            exit 1
        }
    fi
    rm -rf --one-file-system "$root"
    echo "== fresh $kind: passed after $(($(date +%s) - started)) s"
done
