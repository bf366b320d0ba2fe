// SPDX-License-Identifier: Apache-2.0
// Whose a connection is: a socket belongs to the network namespace it was made in, whoever holds it when it connects.
#include <doctest/doctest.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "finally.hpp"
#include "janitor.hpp"
#include "outcome.hpp"
#include "persona.hpp"
#include "server.hpp"
#include "tap.hpp"
#include "visit.hpp"
#include "world.hpp"

using namespace culvert::test;
using culvert::base::Fd;

namespace {

constexpr std::string_view secret = "must-not-be-seen";

struct Target {
    sockaddr_storage raw{};
    socklen_t length = 0;
    explicit Target(const SocketAddress& address) : length{address.to(raw)} {}
};

// What a child does; its answers become the parent's, so each has a number of its own. 0: it worked.
int connect_and_talk(int fd, const Target& target) {
    char answer[secret.size()];
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&target.raw), target.length) != 0) return 10;
    if (::send(fd, secret.data(), secret.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(secret.size())) return 11;
    if (::recv(fd, answer, sizeof answer, MSG_WAITALL) != static_cast<ssize_t>(sizeof answer)) return 12;
    return std::memcmp(answer, secret.data(), sizeof answer) == 0 ? 0 : 13;
}

void give(int through, const Fd& given) {
    const int fd = given.get();
    char byte = 0;
    iovec data{&byte, 1};
    alignas(cmsghdr) char room[CMSG_SPACE(sizeof fd)]{};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = room;
    message.msg_controllen = sizeof room;
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(part), &fd, sizeof fd);
    REQUIRE(::sendmsg(through, &message, 0) == 1);
}

int receive_descriptor(int through) {
    char byte = 0;
    iovec data{&byte, 1};
    alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))]{};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = room;
    message.msg_controllen = sizeof room;
    int fd = -1;
    if (::recvmsg(through, &message, 0) != 1 || CMSG_FIRSTHDR(&message) == nullptr) return -1;
    std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

Fd make_socket(int netns, Family family) {
    return visit(
        netns, [&] { return Fd{::socket(family == Family::v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)}; });
}

std::string cgroup2_mount() {
    std::ifstream mounts{"/proc/self/mounts"};
    for (std::string device, folder, type, rest; mounts >> device >> folder >> type && std::getline(mounts, rest);)
        if (type == "cgroup2") return folder;
    return {};
}

// The child's answer, and that nothing of its call to far was on the cable of the client.
void check_sealed_by(World& world, Family family, const std::function<int(const Target&)>& life) {
    Server echo{world.far.netns(), 8080, apps::echo};
    for (const SocketAddress& address : {world.far.at(family, 8080), world.vip("far", family)}) {
        INFO("target ", address.to_string());
        Tap cable{world.lab.node_netns(1), world.client.host_link()};
        const Target target{address};
        Child child{[&] { return life(target); }};
        CHECK(child.wait() == 0);
        CHECK(let_out(cable.packets(), {address.ip, world.far.ip(family)}, secret) == "");
        CHECK(echo.guests().back().from.ip == world.client.ip(family));
    }
}

// A cgroup of the test's own, below the root; where nobody has mounted that, so is the mount.
class Cgroup {
public:
    explicit Cgroup(const World& world) : root_{cgroup2_mount()} {
        if (root_.empty()) {
            root_ = mounted_ = world.lab.folder() / "cgroup2";
            std::filesystem::create_directory(mounted_);
            REQUIRE(::mount("none", mounted_.c_str(), "cgroup2", 0, nullptr) == 0);
            janitor::remember("run umount -l " + mounted_);
        }
        folder_ = root_ + "/culvert-test-" + world.lab.name();
        std::filesystem::create_directory(folder_);
        janitor::remember("run rmdir " + folder_);
        here_ = Fd{::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
        members_ = Fd{::open((folder_ + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC)};
    }
    ~Cgroup() {
        CHECK(eventually(15s, [&] { return ::rmdir(folder_.c_str()) == 0; }));
        janitor::forget("run rmdir " + folder_);
        if (mounted_.empty()) return;
        CHECK(::umount2(mounted_.c_str(), MNT_DETACH) == 0);
        janitor::forget("run umount -l " + mounted_);
        ::rmdir(mounted_.c_str());
    }
    bool join() const { return ::write(members_.get(), "0", 1) == 1; }
    int fd() const { return here_.get(); }

private:
    std::string root_, mounted_, folder_;
    Fd here_, members_;
};

int as_member(const World& world, const Cgroup& group, const Target& target) {
    if (!group.join()) return 1;
    if (::setns(world.client.netns(), CLONE_NEWNET) != 0) return 3;
    return connect_and_talk(::socket(target.raw.ss_family, SOCK_STREAM, 0), target);
}

Fd load(bpf_prog_type type, bpf_attach_type hook, const std::vector<bpf_insn>& code) {
    bpf_prog_load_opts options{};
    options.sz = sizeof options;
    options.expected_attach_type = hook;
    return Fd{bpf_prog_load(type, "someones", "GPL", code.data(), code.size(), &options)};
}

constexpr bpf_insn let_pass[] = {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};

}

TEST_SUITE("passed") {

TEST_CASE("passed: a pod's socket given to another process, in whatever netns, is captured" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        for (int holder : {world.client.netns(), world.near.netns(), world.plain1.netns(), world.lab.node_netns(1)}) {
            CAPTURE(to_string(family));
            CAPTURE(holder);
            int ends[2];
            REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) == 0);
            const Fd giver{ends[0]};
            const Fd given{ends[1]};
            for (int calls = 0; calls < 2; ++calls) give(giver.get(), make_socket(world.client.netns(), family));
            check_sealed_by(world, family, [&](const Target& target) {
                if (::setns(holder, CLONE_NEWNET) != 0) return 1;
                const int fd = receive_descriptor(given.get());
                return fd < 0 ? 2 : connect_and_talk(fd, target);
            });
        }
    }
}

TEST_CASE("passed: a socket whose process has gone to another netns since is captured" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        check_sealed_by(world, family, [&](const Target& target) {
            if (::setns(world.client.netns(), CLONE_NEWNET) != 0) return 1;
            const int fd = ::socket(target.raw.ss_family, SOCK_STREAM, 0);
            if (::setns(world.plain1.netns(), CLONE_NEWNET) != 0) return 2;
            return connect_and_talk(fd, target);
        });
    }
}

TEST_CASE("passed: a socket from outside the mesh in the hands of a pod's process is left alone" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server echo{world.plain2.netns(), 8080, apps::echo};
        Tap cable{world.lab.node_netns(1), world.plain1.host_link()};
        const Target target{world.plain2.at(family, 8080)};
        const Fd socket = make_socket(world.plain1.netns(), family);
        Child child{[&] {
            if (::setns(world.client.netns(), CLONE_NEWNET) != 0) return 1;
            return connect_and_talk(socket.get(), target);
        }};
        CHECK(child.wait() == 0);
        CHECK(echo.guest(0).from.ip == world.plain1.ip(family));
        CHECK_FALSE(holding(cable.packets(), secret).empty());
    }
}

TEST_CASE("passed: a process in a cgroup below, with a cgroup namespace of its own, is captured" BOTH_FAMILIES) {
    World& world = World::shared();
    Cgroup group{world};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        check_sealed_by(world, family, [&](const Target& target) {
            return ::unshare(CLONE_NEWCGROUP) != 0 ? 2 : as_member(world, group, target);
        });
    }
}

TEST_CASE("passed: a sockops program of its own cgroup, however attached, takes nobody past us" BOTH_FAMILIES) {
    World& world = World::shared();
    Cgroup group{world};
    const Fd program = load(BPF_PROG_TYPE_SOCK_OPS, BPF_CGROUP_SOCK_OPS, {let_pass[0], let_pass[1]});
    REQUIRE(bool(program));
    for (unsigned flags : {0U, unsigned{BPF_F_ALLOW_OVERRIDE}, unsigned{BPF_F_ALLOW_MULTI}}) {
        CAPTURE(flags);
        REQUIRE(bpf_prog_attach(program.get(), group.fd(), BPF_CGROUP_SOCK_OPS, flags) == 0);
        for (Family family : families())
            check_sealed_by(world, family, [&](const Target& target) { return as_member(world, group, target); });
        REQUIRE(bpf_prog_detach2(program.get(), group.fd(), BPF_CGROUP_SOCK_OPS) == 0);
    }
}

TEST_CASE("passed: an address that a connect4 program has rewritten is captured as what it has become" IPV4) {
    World& world = World::shared();
    Cgroup group{world};
    const SocketAddress far = world.far.at(Family::v4, 8080);
    sockaddr_storage raw{};
    far.to(raw);
    const auto& to = reinterpret_cast<const sockaddr_in&>(raw);
    const auto put = [](int value, short field) -> std::vector<bpf_insn> {
        return {{BPF_ALU | BPF_MOV | BPF_K, 2, 0, 0, value}, {BPF_STX | BPF_MEM | BPF_W, 1, 2, field, 0}};
    };
    std::vector<bpf_insn> code = put(static_cast<int>(to.sin_addr.s_addr), offsetof(bpf_sock_addr, user_ip4));
    std::ranges::copy(put(to.sin_port, offsetof(bpf_sock_addr, user_port)), std::back_inserter(code));
    std::ranges::copy(let_pass, std::back_inserter(code));
    const Fd program = load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, code);
    REQUIRE(bool(program));
    REQUIRE(bpf_prog_attach(program.get(), group.fd(), BPF_CGROUP_INET4_CONNECT, 0) == 0);
    world.mark();
    check_sealed_by(world, Family::v4, [&](const Target& target) { return as_member(world, group, target); });
    world.one.access_log().wait_for({{"direction", "outbound"}, {"dst.hbone_addr", far.to_string()}});
    REQUIRE(bpf_prog_detach2(program.get(), group.fd(), BPF_CGROUP_INET4_CONNECT) == 0);
}

}
