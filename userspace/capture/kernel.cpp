// SPDX-License-Identifier: Apache-2.0
#include "kernel.hpp"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

#include <culvert/base/log.hpp>
#include <culvert/base/netns.hpp>

#include "capabilities.hpp"
#include "private_mount.hpp"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace culvert::capture {

namespace {

using base::Fd;
using base::Result;

struct Mount {
    std::string root;
    std::string point;
    std::string type;
};

std::vector<Mount> mounts() {
    std::vector<Mount> found;
    std::ifstream table{"/proc/self/mountinfo"};
    for (std::string line; std::getline(table, line);) {
        std::istringstream words{line};
        std::string skip, word;
        Mount mount;
        words >> skip >> skip >> skip >> mount.root >> mount.point;
        while (words >> word && word != "-") {
        }
        words >> mount.type;
        found.push_back(std::move(mount));
    }
    return found;
}

bool struct_has_member(const btf* types, const char* name, const char* member) {
    auto id = btf__find_by_name_kind(types, name, BTF_KIND_STRUCT);
    if (id < 0) return false;
    const btf_type* type = btf__type_by_id(types, id);
    const btf_member* members = btf_members(type);
    for (int i = 0; i < btf_vlen(type); ++i)
        if (std::strcmp(btf__name_by_offset(types, members[i].name_off), member) == 0) return true;
    return false;
}

bool enum_has_value(const btf* types, const char* name, const char* value) {
    auto id = btf__find_by_name_kind(types, name, BTF_KIND_ENUM);
    if (id < 0) return false;
    const btf_type* type = btf__type_by_id(types, id);
    const struct btf_enum* values = btf_enum(type);
    for (int i = 0; i < btf_vlen(type); ++i)
        if (std::strcmp(btf__name_by_offset(types, values[i].name_off), value) == 0) return true;
    return false;
}

using Types = base::Handle<btf, btf__free>;

int log_libbpf(libbpf_print_level level, const char* format, va_list arguments) {
    if (level == LIBBPF_DEBUG) return 0;
    char text[16384];
    int length = std::vsnprintf(text, sizeof text, format, arguments);
    if (length <= 0) return 0;
    std::string_view message{text, std::min<std::size_t>(static_cast<std::size_t>(length), sizeof text - 1)};
    while (!message.empty() && message.back() == '\n') message.remove_suffix(1);
    // A verifier log ends with the reason; its beginning is of use to nobody.
    if (message.size() > 2048) message.remove_prefix(message.size() - 2048);
    // What netlink says beside the error code that we report ourselves.
    if (message.starts_with("libbpf: Kernel error message")) level = LIBBPF_INFO;
    auto ours = level == LIBBPF_WARN ? base::log::Level::warn : base::log::Level::debug;
    if (base::log::enabled(ours)) base::log::write(ours, "capture", message);
    return 0;
}

ino_t inode_of(int fd) {
    struct stat status {};
    return ::fstat(fd, &status) == 0 ? status.st_ino : 0;
}

// The kernel's own number, include/linux/proc_ns.h.
constexpr ino_t first_pid_namespace = 0xEFFFFFFC;

bool is_in_container() {
    struct stat status {};
    return ::stat("/proc/self/ns/pid", &status) == 0 && status.st_ino != first_pid_namespace;
}

}

void adopt_libbpf_log() {
    libbpf_set_print(log_libbpf);
}

Result<> check_kernel() {
    constexpr Capability wanted[] = {{CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}};
    if (auto allowed = check_capabilities(wanted); !allowed) return allowed.error();
    Types types{btf__load_vmlinux_btf()};
    if (!types && ::access("/sys/kernel", F_OK) != 0)
        return base::problem(
            "/sys is not mounted here, so the kernel's BTF (/sys/kernel/btf/vmlinux) cannot be read: mount it "
            "(mount -t sysfs sysfs /sys), or have the container's runtime do so");
    if (!types)
        return base::problem("this kernel has no BTF (/sys/kernel/btf/vmlinux): it needs CONFIG_DEBUG_INFO_BTF");
    if (libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_SK_LOOKUP, nullptr) != 1)
        return base::problem("this kernel has no sk_lookup programs (Linux 5.9 has)");
    if (!struct_has_member(types.get(), "bpf_sk_lookup", "ingress_ifindex"))
        return base::problem("sk_lookup of this kernel does not tell the ingress interface (Linux 5.17 does)");
    if (libbpf_probe_bpf_helper(BPF_PROG_TYPE_SOCK_OPS, BPF_FUNC_get_netns_cookie, nullptr) != 1)
        return base::problem("sockops of this kernel cannot ask for the netns cookie (Linux 5.15 can)");
    if (libbpf_probe_bpf_helper(BPF_PROG_TYPE_SOCK_OPS, BPF_FUNC_sk_storage_get, nullptr) != 1)
        return base::problem("sockops of this kernel has no socket storage (Linux 5.2 has)");
    if (auto cookie = netns_cookie(); !cookie) return cookie.error();
    return {};
}

bool kernel_has_tcx() {
    Types types{btf__load_vmlinux_btf()};
    return types && enum_has_value(types.get(), "bpf_attach_type", "BPF_TCX_INGRESS");
}

std::string mounted_bpffs() {
    std::string elsewhere;
    for (const Mount& mount : mounts()) {
        if (mount.type != "bpf" || mount.root != "/") continue;
        if (mount.point == "/sys/fs/bpf") return mount.point;
        if (elsewhere.empty()) elsewhere = mount.point;
    }
    return elsewhere;
}

Result<std::string> bpffs() {
    const char* point = "/sys/fs/bpf";
    std::string there = mounted_bpffs();
    if (there == point) return there;
    // Pins in a mount that ends with the container would let go of captured pods.
    if (is_in_container()) {
        if (!there.empty()) return there;
        return base::problem(
            "no bpffs is mounted here, and one that a container mounts ends with it: mount it on the node "
            "(mount -t bpf bpf /sys/fs/bpf, as systemd does), and the node's /sys/fs/bpf into the container");
    }
    if (::mount("bpf", point, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0) {
        int why = errno;
        if (std::string elsewhere = mounted_bpffs(); !elsewhere.empty()) return elsewhere;
        return base::errno_while("mount bpffs at /sys/fs/bpf", why);
    }
    base::log::info("capture", "mounted bpffs at {}", point);
    return std::string{point};
}

Result<Fd> cgroup_root() {
    bool seen = false;
    for (const Mount& mount : mounts()) {
        if (mount.type != "cgroup2") continue;
        Fd root{::open(mount.point.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
        if (!root) continue;
        seen = true;
        if (inode_of(root.get()) == 1) return root;
    }
    Fd root = mount_privately("cgroup2");
    if (root && inode_of(root.get()) == 1) {
        base::log::info("capture", "no cgroup2 root in the mount table: using a private mount of it");
        return root;
    }
    if (!root && !seen) return base::errno_while("mount the cgroup2 hierarchy");
    return base::problem(
        "the cgroup2 root that culvertd sees is not the node's (its inode is not 1), so nothing would be captured: "
        "run it in the host's cgroup namespace, or mount the node's /sys/fs/cgroup into the container");
}

Result<std::uint64_t> netns_cookie() {
    Fd any{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    if (!any) return base::errno_while("open a socket to ask for the netns cookie");
    std::uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    if (::getsockopt(any.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0)
        return base::errno_while("ask for the netns cookie (Linux 5.14 tells it)");
    return cookie;
}

Result<std::uint64_t> node_netns_cookie(const std::string& path) {
    if (path == "initial") return std::uint64_t{0};
    auto netns = open_node_netns(path);
    if (!netns) return netns.error();
    return base::in_netns(netns->get(), netns_cookie);
}

Result<Fd> open_node_netns(const std::string& path) {
    auto opened = base::open_netns(path.empty() ? "/proc/thread-self/ns/net" : path);
    if (opened || path.empty()) return opened;
    return base::problem(
        opened.error().to_string() +
        "; it is to be the node's own netns (CULVERT_NODE_NETNS, node.netns), and /proc/1/ns/net of the "
        "node wants CAP_SYS_PTRACE");
}

}
