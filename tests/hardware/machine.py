"""Runs the emulated computer of run.sh, and operates its plugs and its power button on request.

    machine.py KERNEL INITRD

The computer prints its requests on its console. "pulse N" presses the power button, line 3 of the
GPIO chip, N times for a tenth of a second of the computer's time. "plug NAME" and "unplug NAME"
plug and unplug a USB adapter with that serial number. Each adapter leads to an instrument that
writes a count: the first n=10000, n=10001 and so on, the second from n=20000. An instrument answers
a line that begins with "echo " with the rest of that line.
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

TIMEOUT_S = 900
FIRST = {"ATTIC": 10_000, "CELLAR": 20_000}


def main():
    kernel, initrd = (os.path.abspath(path) for path in sys.argv[1:])
    os.chdir(tempfile.mkdtemp(prefix="tidegate-hardware-"))
    lines = [["-chardev", f"socket,id={name},path={name},server=on,wait=off"] for name in FIRST]
    machine = subprocess.Popen(
        ["timeout", str(TIMEOUT_S), "qemu-system-aarch64", "-M", "virt,acpi=off"]
        + ["-cpu", "cortex-a53", "-m", "512", "-display", "none", "-nodefaults", "-net", "none"]
        + ["-no-reboot", "-serial", "stdio", "-monitor", "unix:monitor,server=on,wait=off"]
        + ["-device", "qemu-xhci"]
        + sum(lines, [])
        + ["-kernel", kernel, "-initrd", initrd, "-append", "console=ttyAMA0 quiet panic=-1"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace",
    )
    has_passed = False
    for line in machine.stdout:
        print(line, end="", flush=True)
        has_passed |= line.startswith("all tests passed")
        match line.split():
            case ["pulse", times]:
                for _ in range(int(times)):
                    time.sleep(2)
                    order("system_powerdown")
                time.sleep(2)
            case ["plug", name]:
                if not any(thread.name == name for thread in threading.enumerate()):
                    threading.Thread(target=instrument, args=[name], name=name, daemon=True).start()
                adapter = f"usb-serial,id={name},chardev={name},serial={name},always-plugged=on"
                order(f"device_add {adapter}")
            case ["unplug", name]:
                order(f"device_del {name}")
    machine.wait()
    sys.exit(0 if has_passed else 1)


def order(words):
    """Sends a command to the emulator's monitor."""
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect("monitor")
        monitor.sendall(f"{words}\n".encode())
        time.sleep(0.5)


def instrument(name):
    """Counts while the computer runs. Lines are lost while the adapter is unplugged."""
    count, received = FIRST[name], b""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(name)
        line.setblocking(False)
        while True:
            time.sleep(0.5)
            count += 1
            written = [f"n={count}\n".encode()]
            try:
                received += line.recv(1024)
            except BlockingIOError:
                pass
            *orders, received = received.split(b"\n")
            echoed = [order for order in orders if order.startswith(b"echo ")]
            written += [order.removeprefix(b"echo ") + b"\n" for order in echoed]
            try:
                line.sendall(b"".join(written))
            except BlockingIOError:
                pass
            except OSError:
                return


main()
