"""Runs the emulated computer of run.sh, and presses its power button when it asks for pulses.

    machine.py KERNEL INITRD

The button is on line 3 of the chip. It is pressed for a tenth of a second of the computer's time each time.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time

TIMEOUT_S = 900


def main():
    kernel, initrd = (os.path.abspath(path) for path in sys.argv[1:])
    os.chdir(tempfile.mkdtemp(prefix="tidegate-gpio-"))
    machine = subprocess.Popen(
        ["timeout", str(TIMEOUT_S), "qemu-system-aarch64", "-M", "virt,acpi=off", "-cpu", "cortex-a53"]
        + ["-m", "512", "-display", "none", "-nodefaults", "-net", "none", "-no-reboot"]
        + ["-serial", "stdio", "-monitor", "unix:monitor,server=on,wait=off"]
        + ["-kernel", kernel, "-initrd", initrd, "-append", "console=ttyAMA0 quiet panic=-1"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace",
    )
    is_well = False
    for line in machine.stdout:
        print(line, end="", flush=True)
        is_well |= line.startswith("all is well")
        if line.startswith("pulse "):
            press(int(line.split()[1]))
    machine.wait()
    sys.exit(0 if is_well else 1)


def press(times):
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect("monitor")
        for _ in range(times):
            time.sleep(2)
            monitor.sendall(b"system_powerdown\n")
        time.sleep(2)


main()
