#!/bin/bash
# Tests a package in a booted Debian 12: test.sh FILE.deb SANDBOX
#
# SANDBOX is the program tidegate-sandbox, which replaces the cloud. Needs root. Leaves nothing
# behind but a cached Debian in target/debian-root.
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
wait_for() { # wait_for SECONDS WHAT COMMAND...: waits until COMMAND succeeds
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= deadline)); then
            inside journalctl --no-pager -n 40 || true
            fail "timed out: $what"
        fi
        read -rt 0.2 <> <(:) || true
    done
}
property() { inside systemctl show --property "$1" --value tidegate; }
journal() { inside journalctl --no-pager --unit tidegate "$@"; }

cleanup() {
    [ -z "${leader:-}" ] || kill -KILL "$leader" 2>/dev/null || true
    [ -z "$container" ] || wait "$container" 2>/dev/null || true
    rm -rf "$root" "$share"
}
trap cleanup EXIT

boot() {
    cp -a "$base/." "$root"
    install -m 755 "$sandbox" "$share/tidegate-sandbox"
    cp "$package" "$share/tidegate.deb"
    setsid systemd-nspawn --quiet --register=no --keep-unit --directory "$root" --boot \
        --console=pipe --machine=tidegate-test --private-network --bind="$share:/share" \
        >"$share/console.log" 2>&1 </dev/null &
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
    until find_leader; do
        ((SECONDS < wait_for_leader)) || fail "the container does not boot"
        read -rt 0.2 <> <(:) || true
    done
    is_up() { inside systemctl is-system-running | grep -Eq 'running|degraded'; }
    wait_for 60 "the container is up" is_up
}

renamed() { # renamed VERSION FILE: writes the same package with another version
    local tree
    tree=$(mktemp -d)
    dpkg-deb --raw-extract "$package" "$tree"
    sed -i "s/^Version: .*/Version: $1/" "$tree/DEBIAN/control"
    dpkg-deb --root-owner-group --build "$tree" "$2" >/dev/null
    rm -rf "$tree"
}

start_cloud() {
    inside systemd-run --quiet --unit cloud \
        /share/tidegate-sandbox serve --json --data-dir /var/lib/cloud
    has_address() { inside journalctl --unit cloud --output cat | grep -q '"url"'; }
    wait_for 10 "the sandbox serves" has_address
    inside journalctl --unit cloud --output cat | grep -m 1 '"url"' > "$share/cloud.json"
}

from_cloud() { # from_cloud PATH: prints a value of the sandbox's first line
    python3 -c 'import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2].split("."):
    value = value[int(key)] if key.isdigit() else value[key]
print(value)' "$share/cloud.json" "$1"
}

packaging/tools.sh container
packaging/debian-root.sh "$base" \
    systemd,systemd-sysv,dbus,udev,libnss-systemd,procps,init-system-helpers,ca-certificates
boot
say "install"
started=$(date +%s%N)
inside dpkg --install /share/tidegate.deb
echo "took $((($(date +%s%N) - started) / 1000000)) ms"
[ "$(inside systemctl is-enabled tidegate)" = enabled ] || fail "the service is not enabled"
[ "$(property Result)" = success ] || fail "the service failed without credentials"
inside id tidegate | grep dialout | grep gpio ||
    fail "the user is not in the groups dialout and gpio"
inside udevadm test /sys/devices/virtual/mem/null 2>&1 | grep 'tidegate.rules:' &&
    fail "udev reports errors in the rules"

say "set up and start"
start_cloud
set_up() {
    from_cloud devices.0.secret | inside tidegate setup --url "$(from_cloud url)" \
        --device-id "$(from_cloud devices.0.deviceId)" --access-key "$(from_cloud devices.0.key)" \
        --bus /dev/ttyUSB0 --format key-value --map t=temperature --yes
}
started=$(date +%s%N)
set_up
echo "set up, accepted by the cloud and ready after $((($(date +%s%N) - started) / 1000000)) ms"
pid=$(property MainPID)
set_up | grep -q Wrote && fail "a second setup wrote files"
[ "$(property MainPID)" = "$pid" ] || fail "a second setup restarted the service"
echo '# changed by its owner' >> "$root/etc/tidegate/tidegate.toml"
inside systemctl status --no-pager tidegate
is_online() { journal --output cat | grep -q 'reported the gateway as connected'; }
wait_for 20 "the daemon is online" is_online
inside systemctl status --no-pager tidegate | sed -n 1,12p

say "what the process may do"
pid=$(property MainPID)
inside grep -E '^(Uid|Groups|NoNewPrivs|Seccomp|CapEff|CapBnd):' "/proc/$pid/status"
inside grep -q '^CapEff:.0000000000000000' "/proc/$pid/status" || fail "the daemon has capabilities"
mode() { inside stat --format '%a' "$1"; }
[ "$(mode /var/lib/tidegate)" = 700 ] || fail "other users can read the outbox"
[ "$(mode /run/tidegate) $(mode /run/tidegate/tidegate.sock)" = "750 660" ] ||
    fail "other users can query the daemon"
[ -z "$(inside find /var/lib/tidegate -type f -perm /077)" ] ||
    fail "other users can read a file of the outbox"
as_user() { inside setpriv --reuid tidegate --clear-groups "$@"; }
as_user cat /etc/tidegate/credentials.toml 2>/dev/null &&
    fail "the service's user can read root's copy of the access key"

say "the journal has fields"
journal --output cat | tail -n 5
[ -n "$(journal BUS=first)" ] || fail "no entry with BUS=first"

say "reload"
write_attic() { # write_attic PATH: prints a configuration with a second bus
    cat <<CONFIG
[bus.serial.attic]
path = "$1"
[sensor.attic]
bus = "attic"
format = "key-value"
map = [{ channel = "t", attribute = "temperature" }]
CONFIG
}
write_attic /dev/ttyUSB1 > "$root/etc/tidegate/conf.d/attic.toml"
inside systemctl reload tidegate
has_attic() { journal BUS=attic --output cat | grep -q ttyUSB1; }
wait_for 10 "the daemon opens the new bus" has_attic
echo 'nonsense = 1' >> "$root/etc/tidegate/conf.d/attic.toml"
code=0
inside tidegate reload || code=$?
[ "$code" = 78 ] || fail "exit code $code in place of 78 for a bad configuration"
write_attic /dev/ttyUSB2 > "$root/etc/tidegate/conf.d/attic.toml"
inside tidegate reload
rm "$root/etc/tidegate/conf.d/attic.toml"
inside tidegate reload
[ "$(property MainPID)" = "$pid" ] || fail "a reload restarted the daemon"

say "restarts after a kill"
inside kill -KILL "$pid"
is_back() { [ "$(property NRestarts)" = 1 ] && [ "$(property ActiveState)" = active ]; }
wait_for 15 "active after a kill" is_back
say "the watchdog restarts a daemon that hangs"
mkdir -p "$root/etc/systemd/system/tidegate.service.d"
printf '[Service]\nWatchdogSec=3s\n' > "$root/etc/systemd/system/tidegate.service.d/test.conf"
inside systemctl daemon-reload
inside systemctl restart tidegate
inside kill -STOP "$(property MainPID)"
has_timed_out() { journal | grep -q 'Watchdog timeout'; }
wait_for 20 "the watchdog times out" has_timed_out
is_active() { [ "$(property ActiveState)" = active ]; }
wait_for 20 "active after the watchdog" is_active
rm -r "$root/etc/systemd/system/tidegate.service.d"
inside systemctl daemon-reload

say "reports a bad configuration once, without restarts"
cp "$root/etc/tidegate/tidegate.toml" "$share/good.toml"
echo 'nonsense = 1' >> "$root/etc/tidegate/tidegate.toml"
inside systemctl restart tidegate && fail "the service started with a bad configuration"
journal --output cat | grep nonsense
[ "$(property ActiveState)" = failed ] ||
    fail "the state is $(property ActiveState) in place of failed"
cp "$share/good.toml" "$root/etc/tidegate/tidegate.toml"
inside systemctl reset-failed tidegate
inside systemctl start tidegate

say "accepts an access key that is encrypted on the disk"
inside systemd-creds encrypt --name=losant /etc/tidegate/credentials.toml /etc/tidegate/losant.cred
mkdir -p "$root/etc/systemd/system/tidegate.service.d"
cat > "$root/etc/systemd/system/tidegate.service.d/encrypted.conf" <<'UNIT'
[Unit]
ConditionPathExists=
ConditionPathExists=/etc/tidegate/losant.cred
[Service]
LoadCredential=
LoadCredentialEncrypted=losant:/etc/tidegate/losant.cred
UNIT
mv "$root/etc/tidegate/credentials.toml" "$share/credentials.toml"
inside systemctl daemon-reload
inside systemctl restart tidegate
# "status" fails, because no serial adapter is plugged in.
is_linked() { { inside tidegate status --json || true; } | grep '"online": *true'; }
wait_for 20 "online with the encrypted key" is_linked
inside setpriv --reuid nobody --regid tidegate --clear-groups tidegate status >/dev/null ||
    [ $? = 1 ] || fail "the group tidegate cannot query the daemon"
inside tidegate outbox status >/dev/null ||
    fail "\"tidegate outbox status\" needs the access key"
mv "$share/credentials.toml" "$root/etc/tidegate/credentials.toml"
rm -r "$root/etc/systemd/system/tidegate.service.d" "$root/etc/tidegate/losant.cred"
inside systemctl daemon-reload
inside systemctl restart tidegate

say "stop"
started=$(date +%s%N)
inside systemctl stop tidegate
echo "took $((($(date +%s%N) - started) / 1000000)) ms"
inside systemctl start tidegate

say "an upgrade keeps a changed configuration and the outbox"
inside sh -c 'echo kept > /var/lib/tidegate/mark'
renamed 99.0-1 "$share/newer.deb"
started=$(date +%s%N)
inside dpkg --install --force-confold /share/newer.deb
wait_for 10 "active after the upgrade" is_active
echo "took $((($(date +%s%N) - started) / 1000000)) ms"
inside cmp /share/good.toml /etc/tidegate/tidegate.toml ||
    fail "the upgrade overwrote the configuration"
inside test -e /var/lib/tidegate/mark || fail "the upgrade deleted the outbox"

say "downgrade"
inside dpkg --install --force-confold /share/tidegate.deb
wait_for 10 "active after the downgrade" is_active

say "a removal keeps the outbox; a purge leaves nothing"
inside dpkg --remove tidegate
inside test -e /var/lib/tidegate/mark || fail "the removal deleted the outbox"
inside dpkg --purge tidegate
left=$(inside find / -xdev -name '*tidegate*' -not -path '/proc/*' -not -path '/share/*' \
    -not -path '/var/lib/cloud/*' -not -path '/var/log/*' || true)
[ -z "$left" ] || fail "left behind: $left"
say "all checks passed"
