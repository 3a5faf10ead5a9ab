"""Boots one kernel in qemu and gives back what its guest reported, line by line.

A guest has a console, and a second serial port to which it writes its results.
"""

import json
import re
import subprocess

from . import initramfs

SECOND = "/opt/src/tests/kernels/init"
MEGABYTES = 3072
PROCESSORS = 2
# What an emulated guest takes from its power button to its first result.
BOOT_SECONDS = 300
# No watchdog of the kernel may take the slowness of an emulation for a fault. The
# guest's clock is the counter of the processor.
QUIET = ("console=ttyS0 panic=-1 quiet mitigations=off nowatchdog no_timer_check "
         "tsc=reliable clocksource=tsc rcupdate.rcu_cpu_stall_suppress=1 "
         "random.trust_cpu=on")
TROUBLE = re.compile(r"BUG:|Oops|WARNING:|Kernel panic|hung task|Out of memory")


class Guest:
    """One run of one kernel: its files lie beside each other under its name."""

    def __init__(self, folder, name):
        self.console = folder / f"{name}.console"
        self.results = folder / f"{name}.results"
        self.initramfs = folder / f"{name}.cpio"

    def run(self, kernel, disk, acceleration, environment):
        """Boot, and wait for the end of all tests."""
        busybox = (disk.parent / "tree/bin/busybox").read_bytes()
        self.initramfs.write_bytes(initramfs.make(kernel, busybox, SECOND))
        for file in (self.console, self.results):
            file.unlink(missing_ok=True)
        image = next(kernel.glob("boot/vmlinuz*"))
        limit = float(environment["SECONDS"]) + BOOT_SECONDS
        subprocess.run(
            self.command(image, disk, acceleration, environment), timeout=limit,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)

    def command(self, image, disk, acceleration, environment):
        # The kernel makes what it does not know its first process's environment.
        told = " ".join(f"{name}={value}" for name, value in environment.items())
        told += f" tsc_early_khz={counter_khz()}"
        processor = "host" if acceleration == "kvm" else "max,la57=off,pku=off"
        return [
            "nice", "-n5", "qemu-system-x86_64", "-accel", acceleration,
            "-cpu", processor,
            "-smp", str(PROCESSORS), "-m", str(MEGABYTES), "-display", "none",
            "-monitor", "none", "-nic", "none", "-no-reboot",
            "-device", "virtio-rng-pci",
            "-serial", f"file:{self.console}", "-serial", f"file:{self.results}",
            "-drive", f"file={disk},if=virtio,format=raw,snapshot=on,cache=unsafe",
            "-kernel", image, "-initrd", self.initramfs,
            "-append", f"{QUIET} {told}"]

    def reported(self):
        """[[kind, value], ...]; a line that was cut off is left out."""
        lines = []
        if self.results.exists():
            for line in self.results.read_text(errors="replace").splitlines():
                try:
                    lines.append(json.loads(line))
                except ValueError:
                    continue
        return lines

    def trouble(self):
        """What the kernel itself complained of."""
        if not self.console.exists():
            return ["no console"]
        return [line for line in self.console.read_text(errors="replace").splitlines()
                if TROUBLE.search(line)]


def counter_khz():
    """The rate of the time stamp counter, which emulated guests see as well.

    A guest that measures it while others have the processors has a clock that is wrong
    by factors.
    """
    with open("/proc/cpuinfo") as file:
        return round(float(re.search(r"cpu MHz\s*:\s*([\d.]+)", file.read())[1]) * 1000)
