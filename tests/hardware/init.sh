#!/bin/busybox sh
# shellcheck shell=dash
# Runs as the first process of the emulated computer that run.sh boots. It prints "pulse N", "plug
# NAME" and "unplug NAME" on its console to make machine.py do so.
/bin/busybox mkdir -p /bin /proc /sys /dev /tmp /run
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc p /proc
mount -t sysfs s /sys
mount -t devtmpfs d /dev
mount -t debugfs g /sys/kernel/debug
ifconfig lo 127.0.0.1 up
for driver in usb-common usbcore xhci-hcd xhci-pci usbserial ftdi_sio; do
    insmod "/lib/drivers/$driver.ko"
done

tidegate=/bin/tidegate
config=/etc/tidegate.toml
failures=0

await() { # await WHAT COMMAND...: waits at most two minutes until COMMAND succeeds
    what=$1
    shift
    for _ in $(seq 120); do
        if "$@" >/dev/null 2>&1; then
            echo "ok: $what"
            return
        fi
        sleep 1
    done
    echo "FAILED: $what"
    failures=$((failures + 1))
    cat /tmp/log /sys/kernel/debug/gpio
    "$tidegate" device get-state --config "$config" --limit 50
}

level() { # level lo|hi: the kernel drives line 5 at this level
    grep -q "tidegate.* out $1" /sys/kernel/debug/gpio
}

state() { # state PATTERN: one of the gateway's last states matches
    "$tidegate" device get-state --config "$config" --limit 50 | grep -q "$1"
}

stream_open() {
    "$tidegate" status --config "$config" --json | grep -q '"gateway": *true'
}

logged() { # logged COUNT TEXT: the daemon's log has COUNT lines with TEXT
    [ "$(grep -c "$2" /tmp/log)" = "$1" ]
}

buses_down() { # buses_down COUNT: COUNT buses are down
    [ "$("$tidegate" status --config "$config" --json | grep -o '"bus_down"' | wc -l)" = "$1" ]
}

is_tty() { # is_tty SERIAL N: the adapter with this serial number is ttyUSBN
    [ "$(cat "/sys/class/tty/ttyUSB$2/device/../../serial")" = "$1" ]
}

plug() { # plug SERIAL N: plugs an adapter, which becomes ttyUSBN
    echo "plug $1"
    await "the adapter $1 is ttyUSB$2" is_tty "$1" "$2"
}

unplug() { # unplug SERIAL N
    echo "unplug $1"
    await "the adapter $1 is gone" [ ! -e "/dev/ttyUSB$2" ]
}

start() {
    "$tidegate" run --config "$config" 2>>/tmp/log &
    daemon=$!
    await "the daemon runs" "$tidegate" status --config "$config"
    await "the stream is open" stream_open
}

command() { # command NAME PAYLOAD
    "$tidegate" device send-command --config "$config" --name "$1" --payload "$2"
}

tidegate-sandbox serve --listen 127.0.0.1:8080 >/tmp/cloud 2>&1 &
await "the sandbox runs" grep -q url /tmp/cloud
# The token of the sandbox's application; see docs/sandbox.md.
(umask 077 && echo sandbox-api-token >/tmp/token)
"$tidegate" provision --config "$config" --token-file /tmp/token --yes
plug ATTIC 0
plug CELLAR 1
start
await "an output is off at the start" level lo
command relay 'true'
await "a command turns it on" level hi
command bell '{"on": true, "length": "4 s"}'
await "a pulse ends" level lo
echo "pulse 5"
await "five pulses are counted" state '"pulses": *5\b'
kill -9 "$daemon"
wait "$daemon"
start
echo "pulse 2"
await "the count continues after a kill" state '"pulses": *7\b'
command relay 'true'
await "the output is on before the stop" level hi
kill -TERM "$daemon"
wait "$daemon"
start
await "the output is off at the start" level lo
command relay 'true'
await "a command turns it on again" level hi
sed -i 's/edges = "count-rising"/edges = "report"/' "$config"
kill -HUP "$daemon"
await "a reload turns the output off" level lo
echo "pulse 1"
await "a high level is reported" state '"key": *true'
await "a low level is reported" state '"key": *false'
await "the first line is found by its adapter's serial number" state '"attic": *1[0-9]\{4\}'
await "the second line is found by its adapter's serial number" state '"cellar": *2[0-9]\{4\}'
command lamp '"on"'
await "a command is written and its answer is read" state '"lamp": *"on"'
unplug ATTIC 0
unplug CELLAR 1
await "both lines are reported as down" buses_down 2
opened=$(grep -c "serial line open" /tmp/log)
plug CELLAR 0
plug ATTIC 1
await "both are found after they exchanged their names" logged $((opened + 2)) "serial line open"
command lamp '"off"'
await "a command finds its line" state '"lamp": *"off"'
exchanged() { # a sensor has values of the other instrument
    state '"attic": *2[0-9]\{4\}' || state '"cellar": *1[0-9]\{4\}'
}
await "each sensor has only values of its own instrument" [ "$(exchanged || echo none)" = none ]
echo "memory of the daemon: $(grep VmRSS "/proc/$daemon/status")"
if [ "$failures" = 0 ]; then echo "all tests passed"; else echo "$failures tests failed"; fi
poweroff -f
