"""Runs the emulated computer of run.sh, and does with its plugs and its power button what it asks for on its console.

    machine.py KERNEL INITRD

"pulse N" presses the button, which is on line 3 of the chip, N times for a tenth of a second of the computer's time. "plug NAME"
and "unplug NAME" do so with a USB adapter of that serial number. Each adapter leads to an instrument, which goes on to count: one
says n=10000, n=10001 and so on, the other n=20000; and what it is told in a line beginning with "echo " it says, too.
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
        ["timeout", str(TIMEOUT_S), "qemu-system-aarch64", "-M", "virt,acpi=off", "-cpu", "cortex-a53"]
        + ["-m", "512", "-display", "none", "-nodefaults", "-net", "none", "-no-reboot"]
        + ["-serial", "stdio", "-monitor", "unix:monitor,server=on,wait=off", "-device", "qemu-xhci"]
        + sum(lines, [])
        + ["-kernel", kernel, "-initrd", initrd, "-append", "console=ttyAMA0 quiet panic=-1"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace",
    )
    is_well = False
    for line in machine.stdout:
        print(line, end="", flush=True)
        is_well |= line.startswith("all is well")
        match line.split():
            case ["pulse", times]:
                for _ in range(int(times)):
                    time.sleep(2)
                    order("system_powerdown")
                time.sleep(2)
            case ["plug", name]:
                if not any(thread.name == name for thread in threading.enumerate()):
                    threading.Thread(target=instrument, args=[name], name=name, daemon=True).start()
                order(f"device_add usb-serial,id={name},chardev={name},serial={name},always-plugged=on")
            case ["unplug", name]:
                order(f"device_del {name}")
    machine.wait()
    sys.exit(0 if is_well else 1)


def order(words):
    """Tells the emulator."""
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect("monitor")
        monitor.sendall(f"{words}\n".encode())
        time.sleep(0.5)


def instrument(name):
    """Counts for as long as the computer runs; what no adapter takes is lost."""
    count, heard = FIRST[name], b""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(name)
        line.setblocking(False)
        while True:
            time.sleep(0.5)
            count += 1
            said = [f"n={count}\n".encode()]
            try:
                heard += line.recv(1024)
            except BlockingIOError:
                pass
            *orders, heard = heard.split(b"\n")
            said += [words.removeprefix(b"echo ") + b"\n" for words in orders if words.startswith(b"echo ")]
            try:
                line.sendall(b"".join(said))
            except BlockingIOError:
                pass
            except OSError:
                return


main()
