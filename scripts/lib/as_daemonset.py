#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""as_daemonset.py MANIFEST ROOT [ARGUMENT...]: becomes the container of MANIFEST's DaemonSet, of the image in ROOT.

What a container runtime does of it, as far as one machine can: the files of the image and nothing else, read-only; the
volumes that the manifest mounts; /sys and /proc/sys read-only; the capabilities that the manifest adds and no other. Processes
are the machine's, since a test wants to know and end the daemon by its number, and so are the network namespace, which the
caller has chosen, and /tmp, which holds what a test hands over. What is left to a cluster: secrets, AppArmor, seccomp.
"""

import ctypes
import os
import stat
import sys

import yaml

NEW_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000  # of mounts, cgroups, names, IPC: sched.h
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE = 1, 32, 4096, 16384, 1 << 18, 1 << 19
PR_CAPBSET_DROP = 24
# linux/capability.h, in its order.
CAPABILITIES = """CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP
MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE""".split()
READ_ONLY_OF_PROC = ("bus", "fs", "irq", "sys", "sysrq-trigger")  # as containerd and CRI-O have it
DEVICES = ("full", "null", "random", "urandom", "zero")
OF_THE_TEST = ("/tmp",)

libc = ctypes.CDLL(None, use_errno=True)


def check(result, doing):
    if result != 0:
        sys.exit(f"as_daemonset.py: {doing}: {os.strerror(ctypes.get_errno())}")


def mount(source, target, kind=None, flags=0, data=None):
    check(libc.mount(source.encode(), target.encode(), kind and kind.encode(), ctypes.c_ulong(flags),
                     data and data.encode()), f"mount {source} at {target}")


def bind(source, target, read_only=False):
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        open(target, "a").close()
    mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        mount("none", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def container_of(manifest):
    with open(manifest, encoding="utf-8") as file:
        for document in yaml.safe_load_all(file):
            if document and document["kind"] == "DaemonSet":
                pod = document["spec"]["template"]["spec"]
                return pod, pod["containers"][0]
    sys.exit(f"as_daemonset.py: {manifest} has no DaemonSet")


def lay_out_image(image, root):
    for name in sorted(os.listdir(image)):
        path = os.path.join(image, name)
        if os.path.islink(path):
            os.symlink(os.readlink(path), os.path.join(root, name))
        elif name in ("etc", "usr"):
            bind(path, os.path.join(root, name), read_only=True)
        else:
            os.mkdir(os.path.join(root, name))
    bind(os.path.join(image, "var/lib"), os.path.join(root, "var/lib"), read_only=True)
    os.symlink(os.readlink(os.path.join(image, "var/run")), os.path.join(root, "var/run"))


def lay_out_kernel(root):
    mount("proc", root + "/proc", "proc")
    for name in READ_ONLY_OF_PROC:
        if os.path.exists(f"{root}/proc/{name}"):
            bind(f"{root}/proc/{name}", f"{root}/proc/{name}", read_only=True)
    mount("sysfs", root + "/sys", "sysfs", MS_RDONLY)
    for name in DEVICES:
        bind("/dev/" + name, f"{root}/dev/{name}")


def lay_out_volumes(pod, container, root):
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for wanted in container["volumeMounts"]:
        volume = volumes[wanted["name"]]
        target = root + wanted["mountPath"].replace("/var/run", "/run")
        if "hostPath" in volume:
            source = volume["hostPath"]["path"]
        elif "emptyDir" in volume:
            source = wanted["mountPath"]  # the machine's, where tests look for the daemon's socket
        else:
            continue  # secrets
        if not volume.get("hostPath", {}).get("type") == "Directory":
            os.makedirs(source, exist_ok=True)
        bind(source, target, wanted.get("readOnly", False))
        if wanted.get("mountPropagation") != "HostToContainer":
            mount("none", target, flags=MS_PRIVATE | MS_REC)
    for path in OF_THE_TEST:
        bind(path, root + path)


def drop_capabilities(container):
    wanted = container["securityContext"]["capabilities"]
    if wanted["drop"] != ["ALL"]:
        sys.exit("as_daemonset.py: the DaemonSet keeps capabilities that it does not name")
    for number, name in enumerate(CAPABILITIES):
        if name not in wanted["add"]:
            check(libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0), "drop CAP_" + name)
    unknown = set(wanted["add"]) - set(CAPABILITIES)
    if unknown:
        sys.exit(f"as_daemonset.py: no such capability: {', '.join(unknown)}")


def become(manifest, image, arguments):
    pod, container = container_of(manifest)
    security = container["securityContext"]
    if security["privileged"] or security["runAsUser"] != 0 or not stat.S_ISDIR(os.stat(image).st_mode):
        sys.exit("as_daemonset.py: the container is not to be privileged, and its user is root")
    check(libc.unshare(NEW_NAMESPACES), "leave the machine's namespaces")
    mount("none", "/", flags=MS_SLAVE | MS_REC)
    root = "/mnt"
    mount("tmpfs", root, "tmpfs", data="mode=0755")
    lay_out_image(image, root)
    lay_out_kernel(root)
    lay_out_volumes(pod, container, root)
    if security["readOnlyRootFilesystem"]:
        mount("none", root, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)
    os.chroot(root)
    os.chdir("/")
    drop_capabilities(container)
    keep = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "LD_PRELOAD")}
    os.execve("/usr/sbin/culvertd", ["culvertd", *container.get("args", []), *arguments], {**keep, "PATH": "/usr/sbin:/usr/bin"})


if len(sys.argv) < 3:
    sys.exit(__doc__)
become(sys.argv[1], sys.argv[2], sys.argv[3:])
