#!/bin/bash
# Tries a package in a booted Debian 12: test.sh FILE.deb SANDBOX
#
# SANDBOX is the program tidegate-sandbox, which plays the cloud inside. Needs root, debootstrap and systemd-container (which it installs), and
# leaves nothing behind but a cached Debian in target/debian-root.
set -euo pipefail
cd "$(dirname "$0")/.."

package=$(realpath "$1")
sandbox=$(realpath "$2")
base=$PWD/target/debian-root
root=$(mktemp -d)
share=$(mktemp -d)
container=

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
inside() { nsenter --target "$leader" --mount --uts --ipc --net --pid --cgroup "$@"; }
wait_for() { # seconds, words, command…
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || { inside journalctl --no-pager -n 40 || true; fail "not within the time: $what"; }
        read -rt 0.2 <> <(:) || true
    done
}
property() { inside systemctl show --property "$1" --value tidegate; }

cleanup() {
    [ -z "${leader:-}" ] || kill -KILL "$leader" 2>/dev/null || true
    [ -z "$container" ] || wait "$container" 2>/dev/null || true
    rm -rf "$root" "$share"
}
trap cleanup EXIT

install_tools() {
    command -v debootstrap >/dev/null && command -v systemd-nspawn >/dev/null && return
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends debootstrap systemd-container >/dev/null
}

make_base() {
    [ -e "$base/etc/debian_version" ] && return
    # One of the two ways to write them is there.
    mirror=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } |
        sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' | grep -v security | sed -n 1p)
    debootstrap --variant=minbase \
        --include=systemd,systemd-sysv,dbus,udev,libnss-systemd,procps,init-system-helpers,ca-certificates \
        bookworm "$base" "$mirror" >/dev/null
    : > "$base/etc/machine-id"
}

boot() {
    cp -a "$base/." "$root"
    install -m 755 "$sandbox" "$share/tidegate-sandbox"
    cp "$package" "$share/tidegate.deb"
    setsid systemd-nspawn --quiet --register=no --keep-unit --directory "$root" --boot --console=pipe \
        --machine=tidegate-test --private-network --bind="$share:/share" >"$share/console.log" 2>&1 </dev/null &
    container=$!
    find_leader() {
        local child children
        read -ra children < "/proc/$container/task/$container/children" || true
        for child in "${children[@]}"; do
            [ "$(cat "/proc/$child/comm")" != systemd ] || leader=$child
        done
        [ -n "${leader:-}" ]
    }
    leader=
    wait_for_leader=$((SECONDS + 30))
    until find_leader; do ((SECONDS < wait_for_leader)) || fail "the container does not boot"; read -rt 0.2 <> <(:) || true; done
    is_up() { inside systemctl is-system-running | grep -Eq 'running|degraded'; }
    wait_for 60 "the container is up" is_up
}

# The same package under another version.
renamed() { # version, file
    local tree
    tree=$(mktemp -d)
    dpkg-deb --raw-extract "$package" "$tree"
    sed -i "s/^Version: .*/Version: $1/" "$tree/DEBIAN/control"
    dpkg-deb --root-owner-group --build "$tree" "$2" >/dev/null
    rm -rf "$tree"
}

start_cloud() {
    inside systemd-run --quiet --unit cloud /share/tidegate-sandbox serve --json --data-dir /var/lib/cloud
    has_address() { inside journalctl --unit cloud --output cat | grep -q '"url"'; }
    wait_for 10 "the sandbox serves" has_address
    inside journalctl --unit cloud --output cat | grep -m 1 '"url"' > "$share/cloud.json"
}

from_cloud() { python3 -c 'import json,sys; v=json.load(open(sys.argv[1]))
for k in sys.argv[2].split("."): v = v[int(k)] if k.isdigit() else v[k]
print(v)' "$share/cloud.json" "$1"; }

install_tools
make_base
boot
say "install"
started=$(date +%s%N)
inside dpkg --install /share/tidegate.deb
echo "took $((($(date +%s%N) - started) / 1000000)) ms"
[ "$(inside systemctl is-enabled tidegate)" = enabled ] || fail "not enabled"
[ "$(property Result)" = success ] || fail "an installation without credentials is no failure"
inside id tidegate | grep dialout | grep gpio || fail "its user may not open serial lines and pins"
inside udevadm test /sys/devices/virtual/mem/null 2>&1 | grep 'tidegate.rules:' && fail "udev does not understand the rules"

say "set up and start"
start_cloud
set_up() {
    from_cloud devices.0.secret | inside tidegate setup --url "$(from_cloud url)" --device-id "$(from_cloud devices.0.deviceId)" \
        --access-key "$(from_cloud devices.0.key)" --bus /dev/ttyUSB0 --format key-value --map t=tempC --yes
}
started=$(date +%s%N)
set_up
echo "set up, checked by the cloud and ready after $((($(date +%s%N) - started) / 1000000)) ms"
pid=$(property MainPID)
set_up | grep -q Wrote && fail "setting up again writes again"
[ "$(property MainPID)" = "$pid" ] || fail "setting up again starts it again"
echo '# changed by its owner' >> "$root/etc/tidegate/tidegate.toml"
inside systemctl status --no-pager tidegate
is_online() { inside journalctl --unit tidegate --output cat | grep -q 'gateway is connected'; }
wait_for 20 "the daemon is online" is_online
inside systemctl status --no-pager tidegate | sed -n 1,12p

say "what the process may do"
pid=$(property MainPID)
inside grep -E '^(Uid|Groups|NoNewPrivs|Seccomp|CapEff|CapBnd):' "/proc/$pid/status"
inside grep -q '^CapEff:.0000000000000000' "/proc/$pid/status" || fail "it has capabilities"
mode() { inside stat --format '%a' "$1"; }
[ "$(mode /var/lib/tidegate)" = 700 ] || fail "others can look into the outbox"
[ "$(mode /run/tidegate) $(mode /run/tidegate/tidegate.sock)" = "750 660" ] || fail "others can ask the daemon"
[ -z "$(inside find /var/lib/tidegate -type f -perm /077)" ] || fail "a file of the outbox is open to others"
inside setpriv --reuid tidegate --clear-groups cat /etc/tidegate/credentials.toml 2>/dev/null && fail "the service's user reads root's file"

say "the journal has fields"
inside journalctl --no-pager --unit tidegate --output cat | tail -n 5
[ -n "$(inside journalctl --no-pager --unit tidegate BUS=first)" ] || fail "nothing under BUS=first"

say "reload"
write_attic() { # path
    printf '[bus.serial.attic]\npath = "%s"\n[sensor.attic]\nbus = "attic"\nformat = "key-value"\nmap = [{ channel = "t", attribute = "tempC" }]\n' "$1"
}
write_attic /dev/ttyUSB1 > "$root/etc/tidegate/conf.d/attic.toml"
inside systemctl reload tidegate
has_attic() { inside journalctl --no-pager --unit tidegate BUS=attic --output cat | grep -q ttyUSB1; }
wait_for 10 "the new bus is tried" has_attic
echo 'nonsense = 1' >> "$root/etc/tidegate/conf.d/attic.toml"
code=0
inside tidegate reload || code=$?
[ "$code" = 78 ] || fail "a bad file is not refused: $code"
write_attic /dev/ttyUSB2 > "$root/etc/tidegate/conf.d/attic.toml"
inside tidegate reload
rm "$root/etc/tidegate/conf.d/attic.toml"
inside tidegate reload
[ "$(property MainPID)" = "$pid" ] || fail "a reload started it again"

say "killed, and back"
inside kill -KILL "$pid"
is_back() { [ "$(property NRestarts)" = 1 ] && [ "$(property ActiveState)" = active ]; }
wait_for 15 "back after a kill" is_back
say "stopped by SIGSTOP, and the watchdog acts"
mkdir -p "$root/etc/systemd/system/tidegate.service.d"
printf '[Service]\nWatchdogSec=3s\n' > "$root/etc/systemd/system/tidegate.service.d/test.conf"
inside systemctl daemon-reload
inside systemctl restart tidegate
inside kill -STOP "$(property MainPID)"
is_bitten() { inside journalctl --no-pager --unit tidegate | grep -q 'Watchdog timeout'; }
wait_for 20 "the watchdog acts" is_bitten
is_active() { [ "$(property ActiveState)" = active ]; }
wait_for 20 "back after the watchdog" is_active
rm -r "$root/etc/systemd/system/tidegate.service.d"
inside systemctl daemon-reload

say "a bad configuration is told, and not tried again and again"
cp "$root/etc/tidegate/tidegate.toml" "$share/good.toml"
echo 'nonsense = 1' >> "$root/etc/tidegate/tidegate.toml"
inside systemctl restart tidegate && fail "it started with a bad configuration"
inside journalctl --no-pager --unit tidegate --output cat | grep nonsense
[ "$(property ActiveState)" = failed ] || fail "it is tried again: $(property ActiveState)"
cp "$share/good.toml" "$root/etc/tidegate/tidegate.toml"
inside systemctl reset-failed tidegate
inside systemctl start tidegate

say "an access key that is encrypted on the disk"
inside systemd-creds encrypt --name=losant /etc/tidegate/credentials.toml /etc/tidegate/losant.cred
mkdir -p "$root/etc/systemd/system/tidegate.service.d"
printf '[Unit]\nConditionPathExists=\nConditionPathExists=/etc/tidegate/losant.cred\n[Service]\nLoadCredential=\nLoadCredentialEncrypted=losant:/etc/tidegate/losant.cred\n' \
    > "$root/etc/systemd/system/tidegate.service.d/encrypted.conf"
mv "$root/etc/tidegate/credentials.toml" "$share/credentials.toml"
inside systemctl daemon-reload
inside systemctl restart tidegate
is_linked() { { inside tidegate status --json || true; } | grep '"online": *true'; } # degraded for want of an adapter
wait_for 20 "online with the encrypted key" is_linked
inside setpriv --reuid nobody --regid tidegate --clear-groups tidegate status >/dev/null || [ $? = 1 ] || fail "the group may not ask"
inside tidegate outbox status >/dev/null || fail "the outbox cannot be looked at without the access key"
mv "$share/credentials.toml" "$root/etc/tidegate/credentials.toml"
rm -r "$root/etc/systemd/system/tidegate.service.d" "$root/etc/tidegate/losant.cred"
inside systemctl daemon-reload
inside systemctl restart tidegate

say "stop"
started=$(date +%s%N)
inside systemctl stop tidegate
echo "took $((($(date +%s%N) - started) / 1000000)) ms"
inside systemctl start tidegate

say "upgrade with a changed configuration; it and the outbox stay"
inside sh -c 'echo kept > /var/lib/tidegate/mark'
renamed 99.0-1 "$share/newer.deb"
started=$(date +%s%N)
inside dpkg --install --force-confold /share/newer.deb
wait_for 10 "active after the upgrade" is_active
echo "took $((($(date +%s%N) - started) / 1000000)) ms"
inside cmp /share/good.toml /etc/tidegate/tidegate.toml || fail "the configuration was overwritten"
inside test -e /var/lib/tidegate/mark || fail "the state is gone"

say "downgrade"
inside dpkg --install --force-confold /share/tidegate.deb
wait_for 10 "active after the downgrade" is_active

say "remove keeps the outbox; purge leaves nothing"
inside dpkg --remove tidegate
inside test -e /var/lib/tidegate/mark || fail "remove took the state"
inside dpkg --purge tidegate
left=$(inside sh -c 'find / -xdev -name "*tidegate*" -not -path "/proc/*" -not -path "/share/*" -not -path "/var/lib/cloud/*" -not -path "/var/log/*"' || true)
[ -z "$left" ] || fail "left behind: $left"
say "all of it holds"
