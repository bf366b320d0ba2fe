// SPDX-License-Identifier: Apache-2.0
#include <admin/listen.hpp>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <doctest/doctest.h>

#include <cerrno>
#include <cstddef>
#include <thread>

using namespace culvert;
using admin::listen_on;
using base::SocketAddress;

namespace {

SocketAddress address(std::string_view text) {
    return SocketAddress::parse(text).value();
}

bool connects(const SocketAddress& to) {
    base::Fd client{::socket(to.ip.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_storage raw;
    auto length = to.to(raw);
    return ::connect(client.get(), reinterpret_cast<sockaddr*>(&raw), length) == 0;
}

// For the rest of this thread's life, the kernel has no IPv6.
bool forget_ipv6() {
    sock_filter program[]{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    sock_fprog filter{sizeof program / sizeof *program, program};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

}

TEST_SUITE("admin") {

TEST_CASE("listening: [::] takes IPv4 too") {
    auto listener = listen_on(address("[::]:0"));
    REQUIRE(listener.has_value());
    auto port = base::local_address(listener->get()).port;
    CHECK(connects({address("127.0.0.1:0").ip, port}));
}

TEST_CASE("listening: a node without IPv6 gets 0.0.0.0, and a given IPv6 address is an error that says so") {
    std::thread without_ipv6{[] {
        REQUIRE(forget_ipv6());
        auto listener = listen_on(address("[::]:0"));
        REQUIRE(listener.has_value());
        auto bound = base::local_address(listener->get());
        CHECK(bound.ip == base::IpAddress::any(AF_INET));
        CHECK(connects({address("127.0.0.1:0").ip, bound.port}));
        auto given = listen_on(address("[::1]:0"));
        REQUIRE(given.has_error());
        CHECK(given.error().to_string() ==
              "listen on [::1]:0: Address family not supported by protocol (os error 97): this node has no IPv6; give "
              "this door an IPv4 address");
    }};
    without_ipv6.join();
}

TEST_CASE("listening: a port that is taken is named, with what to do") {
    auto first = listen_on(address("127.0.0.1:0"));
    REQUIRE(first.has_value());
    auto taken = base::local_address(first->get());
    auto second = listen_on(taken);
    REQUIRE(second.has_error());
    CHECK(second.error().to_string() ==
          "listen on " + taken.to_string() +
              ": Address already in use (os error 98): another process has the port (ss -ltnp shows which); end it, or "
              "give this door another one");
}

TEST_CASE("listening: an address that is not ours is named, with what to do") {
    auto listener = listen_on(address("192.0.2.1:15020"));
    REQUIRE(listener.has_error());
    CHECK(listener.error().to_string() ==
          "listen on 192.0.2.1:15020: Cannot assign requested address (os error 99): no interface of this node has the "
          "address; give this door another one, or [::]");
}

}
