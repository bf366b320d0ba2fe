# SPDX-License-Identifier: Apache-2.0
# Where and with what it was measured.
import glob
import gzip
import os
import platform
import re
import subprocess
import time


def describe(root):
    return {
        "cpu": _cpu(), "cores": os.cpu_count(), "kernel": platform.release(),
        "mitigations": _mitigations(), "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        # Namespaces inherit it and may not choose another.
        "congestion_control": _text("/proc/sys/net/ipv4/tcp_congestion_control"),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "commit": _commit(root),
    }


def books_interrupts_apart(configs=("/proc/config.gz", f"/boot/config-{platform.release()}")):
    """Whether a task's time is without the interrupts on top of it, and so without the network's work in softirqs, which
    are in no figure then: CONFIG_IRQ_TIME_ACCOUNTING. False where the kernel's configuration cannot be read."""
    for path in configs:
        text = _read(path)
        if text.startswith(b"\x1f\x8b"):
            text = gzip.decompress(text)
        if text:
            return b"\nCONFIG_IRQ_TIME_ACCOUNTING=y" in text
    return False


def openssl_of(pid):
    """The version of the libcrypto that the process has loaded, by the library's own text."""
    for path in _mapped(pid):
        if "libcrypto" in path:
            found = re.search(rb"OpenSSL (\d+\.\d+\.\d+\S*)", _read(f"/proc/{pid}/root{path}"))
            return found[1].decode() if found else None
    return None


def compiler_of(pid):
    """What the compiler wrote into the program's .comment. The first file that is mapped and is no library: the image's
    daemon is started by its own loader, which would be /proc/PID/exe."""
    programs = [f"/proc/{pid}/root{path}" for path in _mapped(pid) if not re.search(r"\.so\b|/ld-linux", path)]
    found = re.search(rb"(?:GCC: \([^)\0]*\) [\d.]+|(?:Debian )?clang version [\d.]+)",
                      _read((programs or [f"/proc/{pid}/exe"])[0]))
    return found[0].decode().replace("GCC: ", "GCC ") if found else None


def _cpu():
    try:
        listed = subprocess.run(["lscpu"], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}).stdout
    except OSError:
        listed = ""
    found = re.search(r"^Model name:\s*(.+)$", listed, re.M)
    return found[1] if found else platform.machine()


def _mitigations():
    """Those that cost something: what the kernel says it does, without what does not concern this CPU."""
    said = []
    for path in sorted(glob.glob("/sys/devices/system/cpu/vulnerabilities/*")):
        with open(path) as file:
            text = file.read().strip()
        if text.startswith(("Mitigation", "Vulnerable")):
            said.append(f"{os.path.basename(path)}: {text.removeprefix('Mitigation: ')}")
    return "; ".join(said) or "none"


def _text(path):
    return _read(path).decode().strip() or None


def _commit(root):
    try:
        found = subprocess.run(["git", "-C", root, "describe", "--always", "--dirty", "--abbrev=12"],
                               capture_output=True, text=True).stdout.strip()
    except OSError:
        found = ""
    return found or None


def _mapped(pid):
    with open(f"/proc/{pid}/maps") as file:
        return list(dict.fromkeys(line.split(maxsplit=5)[5].strip() for line in file if " /" in line))


def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
