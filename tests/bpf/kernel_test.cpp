// SPDX-License-Identifier: Apache-2.0
// Finding the cgroup root on machines that are mounted otherwise than this one.
#include <doctest/doctest.h>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include <capture/kernel.hpp>

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
