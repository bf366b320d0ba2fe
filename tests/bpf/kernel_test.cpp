// SPDX-License-Identifier: Apache-2.0
// What the kernel has and lets us do, on machines that are mounted otherwise than this one, and in containers.
#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>

#include <capture/kernel.hpp>
#include <capture/sysctls.hpp>

#include "daemon.hpp"

namespace culvert::test {

namespace {

// In a child, because mounts and cgroup namespaces belong to a process.
template <class Do>
int in_child(Do work) {
    pid_t child = ::fork();
    if (child == 0) {
        if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
            ::_exit(99);
        ::_exit(work());
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string cgroup2_mount() {
    std::ifstream table{"/proc/self/mountinfo"};
    for (std::string line; std::getline(table, line);) {
        if (line.find(" - cgroup2 ") == std::string::npos) continue;
        auto words = line;
        for (int i = 0; i < 4; ++i) words.erase(0, words.find(' ') + 1);
        return words.substr(0, words.find(' '));
    }
    return {};
}

}

TEST_SUITE("kernel") {

TEST_CASE("cgroup: the root is found in the mount table, also below /sys/fs/cgroup/unified") {
    auto root = capture::cgroup_root();
    REQUIRE(root.has_value());
    struct stat status {};
    REQUIRE(::fstat(root->get(), &status) == 0);
    CHECK(status.st_ino == 1);
}

TEST_CASE("cgroup: with none mounted, a private mount serves") {
    CHECK(in_child([] {
              for (std::string at; !(at = cgroup2_mount()).empty();)
                  if (::umount2(at.c_str(), MNT_DETACH) != 0) return 2;
              auto root = capture::cgroup_root();
              if (!root) return 3;
              return cgroup2_mount().empty() ? 0 : 4;
          }) == 0);
}

TEST_CASE("cgroup: a namespace's own root is refused, with a sentence that says why") {
    auto home = capture::cgroup_root();  // by descriptor: it may be mounted nowhere
    REQUIRE(home.has_value());
    std::string name = fresh_instance();
    REQUIRE(::mkdirat(home->get(), name.c_str(), 0755) == 0);
    CHECK(in_child([&] {
              std::string group = "/proc/self/fd/" + std::to_string(home->get()) + "/" + name;
              if (!(std::ofstream{group + "/cgroup.procs"} << ::getpid() << std::endl)) return 6;
              for (std::string at; !(at = cgroup2_mount()).empty();)
                  if (::umount2(at.c_str(), MNT_DETACH) != 0) return 2;
              if (::unshare(CLONE_NEWCGROUP) != 0) return 3;
              auto root = capture::cgroup_root();
              if (root) return 4;
              return root.error().to_string().find("host's cgroup namespace") != std::string::npos ? 0 : 5;
          }) == 0);
    CHECK(::unlinkat(home->get(), name.c_str(), AT_REMOVEDIR) == 0);
}

TEST_CASE("kernel: what this one has is enough") {
    CHECK(capture::check_kernel().has_value());
}

TEST_CASE("kernel: without a capability it is said which") {
    struct Row {
        unsigned kept;
        const char* says;
    };
    for (const Row& row :
         {Row{1u << CAP_NET_ADMIN, "needs CAP_SYS_ADMIN:"}, Row{1u << CAP_SYS_ADMIN, "needs CAP_NET_ADMIN:"},
          Row{0, "needs CAP_NET_ADMIN, CAP_SYS_ADMIN:"}}) {
        CAPTURE(row.says);
        CHECK(in_child([&] {
                  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
                  __user_cap_data_struct data[2]{{row.kept, row.kept, 0}, {}};
                  if (::syscall(SYS_capset, &header, data) != 0) return 2;
                  auto able = capture::check_kernel();
                  return !able && able.error().to_string().find(row.says) != std::string::npos ? 0 : 1;
              }) == 0);
    }
}

TEST_CASE("bpffs: in a container it is not mounted, for pins would end with the container") {
    CHECK(in_child([] {
              while (!capture::mounted_bpffs().empty())
                  if (::umount2(capture::mounted_bpffs().c_str(), MNT_DETACH) != 0) return 2;
              if (::unshare(CLONE_NEWPID) != 0) return 3;
              pid_t inside = ::fork();
              if (inside == 0) {
                  auto point = capture::bpffs();
                  bool refused = !point && point.error().to_string().find("ends with it") != std::string::npos;
                  ::_exit(refused && capture::mounted_bpffs().empty() ? 0 : 1);
              }
              int status = 0;
              ::waitpid(inside, &status, 0);
              return WIFEXITED(status) ? WEXITSTATUS(status) : 4;
          }) == 0);
}

TEST_CASE("sysctls: what a container has read-only is written through a proc of our own, in the same netns") {
    CHECK(in_child([] {
              if (::unshare(CLONE_NEWNET) != 0) return 2;
              if (::mount("/proc/sys", "/proc/sys", nullptr, MS_BIND, nullptr) != 0) return 3;
              if (::mount("none", "/proc/sys", nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) != 0) return 4;
              auto all = capture::Sysctls::open();
              if (!all || !all->write({.tcp_fwmark_accept = 1, .fwmark_reflect = 1, .fwmark_reflect6 = 0})) return 5;
              char digit = 0;
              std::ifstream{"/proc/sys/net/ipv4/tcp_fwmark_accept"} >> digit;
              return digit == '1' ? 0 : 6;
          }) == 0);
}

TEST_CASE("probe: of the kernel's first namespace, where the daemon lives in another") {
    Fd first{::open(("/proc/" + std::to_string(::getppid()) + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC)};
    struct stat here {};
    if (::fstat(first.get(), &here) != 0 || here.st_ino != 0xEFFFFFF9) {  // so since Linux 6.18
        MESSAGE("not tried: not known to be in the first namespace");
        return;
    }
    on_node([&](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance, false, 64, "initial"};
        daemon.enrol();
        // An address that this namespace has anyway, as if it were a pod's.
        cv_pod_ip_key ip{};
        cv_pod_key pod{1};
        auto odd = *base::IpAddress::parse("127.71.0.77");
        sockaddr_in to{};
        to.sin_family = AF_INET;
        ip.family = CV_IPV4;
        to.sin_port = htons(1);
        ::inet_pton(AF_INET, odd.to_string().c_str(), &to.sin_addr);
        std::copy_n(odd.bytes.begin(), 16, ip.ip);
        Fd ips{bpf_obj_get(("/sys/fs/bpf/culvert/" + after.instance + "/cv_pod_ips").c_str())};
        REQUIRE(bpf_map_update_elem(ips.get(), &ip, &pod, BPF_ANY) == 0);
        for (int netns : {first.get(), where.node()}) {
            auto made = base::in_netns(netns, [] { return Fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}; });
            REQUIRE(made.has_value());
            (void)::connect(made->get(), reinterpret_cast<sockaddr*>(&to), sizeof to);
        }
        INFO(daemon.reasons());
        CHECK(daemon.count("CONNECT_PROBE") == 1);
    });
}

TEST_CASE("fill: the metrics door hears how full the maps are") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance};
        daemon.plaintext.rules = {{*state::Cidr::parse("10.0.0.0/8")}};
        daemon.enrol();
        auto fills = daemon->fills();
        REQUIRE(fills.size() == 5);
        CHECK(fills[0].used == 1);
        CHECK(fills[0].size == 8);
        CHECK(fills[1].used >= 4);  // loopback's and eth0's, link-local included
        CHECK(fills[2].used == 2);
        CHECK(fills[3].used == 1);
        CHECK(fills[4].used == 0);
    });
}

}

}
