# SPDX-License-Identifier: Apache-2.0
# Processes: started inside a namespace and on a core, and what the kernel says about them.
import ctypes
import glob
import os
import signal
import socket
import subprocess
import time

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET, _PR_SET_PDEATHSIG = 0x40000000, 1


class Trouble(Exception):
    """What a person has to know; the text is the message."""


def netns_path(netns):
    return f"/run/netns/{netns}"


def run(command, **more):
    """Runs it to its end; what it printed, or Trouble with its last words."""
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise Trouble(f"{' '.join(map(str, command))}: {words}")
    return done.stdout


def start(command, netns=None, core=None, **more):
    """Starts it in a namespace and on a core. It does not outlive us."""
    if netns:
        command = ["nsenter", f"--net={netns_path(netns)}", "--", *command]

    def before():
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if core is not None:
            os.sched_setaffinity(0, {core})

    return subprocess.Popen(list(map(str, command)), preexec_fn=before, start_new_session=True, **more)


def end(process, patience=10):
    """SIGTERM, and SIGKILL when that is not heard."""
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def how_it_ended(process):
    status = process.returncode
    return f"status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


def alive(pid):
    return os.path.exists(f"/proc/{pid}")


def pin(pids, core):
    """Every thread that these processes have now; what they start later inherits it."""
    for pid in pids:
        for task in _tasks(pid):
            try:
                os.sched_setaffinity(int(task), {core})
            except (ProcessLookupError, PermissionError):
                pass


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def cpu_seconds(pid):
    """Of all threads, those that have ended too, to the nanosecond: its clock. Without one, of those that it has now."""
    try:
        return time.clock_gettime_ns(~pid << 3 | 2) / 1e9  # what clock_getcpuclockid() makes of a pid
    except OSError:
        pass
    total = 0
    for task in _tasks(pid):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0])
        except (OSError, IndexError):
            pass
    return total / 1e9


def busy_seconds():
    """The time that tasks have run, on all cores: what is more than ours is somebody else's. As culvert_load reads it: not
    every kernel keeps /proc/schedstat, and /proc/stat counts in ticks."""
    try:
        with open("/proc/schedstat") as file:
            return sum(int(line.split()[7]) for line in file if line.startswith("cpu")) / 1e9
    except OSError:
        pass
    for path in ("/sys/fs/cgroup/cpuacct/cpuacct.usage", "/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage"):
        try:
            with open(path) as file:
                return int(file.read()) / 1e9
        except OSError:
            pass
    with open("/proc/stat") as file:
        ticks = [int(word) for word in file.readline().split()[1:8]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid):
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
    raise Trouble(f"process {pid} has no memory: it has ended")


def kernel_threads(cores):
    """ksoftirqd of these cores: under load it does the network's work, and the work is ours."""
    names = {f"ksoftirqd/{core}" for core in cores}
    found = []
    for path in glob.glob("/proc/[0-9]*/comm"):
        try:
            with open(path) as file:
                if file.read().strip() in names:
                    found.append(int(path.split("/")[2]))
        except OSError:
            pass
    return found


def get(netns, port, path, timeout=2):
    """Status and body of a GET on 127.0.0.1 inside a namespace."""
    with _connected(netns, port, timeout) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def _connected(netns, port, timeout):
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(netns_path(netns), os.O_RDONLY)
    try:
        if _libc.setns(there, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {netns}")
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    finally:
        _libc.setns(home, _CLONE_NEWNET)
        os.close(home)
        os.close(there)
    sock.settimeout(timeout)
    try:
        sock.connect(("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    return sock


def check_can_be_written(path):
    """Before the run, not after it. None is no file."""
    if path and (os.path.isdir(path) or not os.access(os.path.dirname(path), os.W_OK)):
        raise Trouble(f"{path} is no file that can be written")


def last_words(path):
    """Of a log: it is removed with its lab, so a message must say what is in it."""
    with open(path, errors="replace") as file:
        lines = file.read().strip().splitlines()
    return lines[-1] if lines else "it has said nothing"


def _tasks(pid):
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []


def usage(path):
    """The comment block at the top of a script, as the others print it."""
    with open(path) as file:
        lines = file.read().splitlines()[2:]
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(line[2:] for line in lines[:end]) + "\n"


def sigterm_is_ctrl_c():
    def interrupted(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupted)


def undisturbed(work):
    """A second ctrl-C must not leave half of it."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        work()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
