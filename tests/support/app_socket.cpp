// SPDX-License-Identifier: Apache-2.0
#include "app_socket.hpp"

#include <doctest/doctest.h>

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <system_error>

#include "persona.hpp"
#include "process.hpp"
#include "server.hpp"
#include "tap.hpp"

namespace culvert::test {
namespace {

constexpr std::string_view secret = "must-not-be-seen";

void must_set(int fd, int level, int option, const void* value, socklen_t length, const char* doing) {
    if (::setsockopt(fd, level, option, value, length) != 0)
        throw std::system_error(errno, std::system_category(), doing);
}

Dial done_by(const std::function<void()>& change, Dial dial) {
    if (const auto prepare = dial.prepare)
        dial.prepare = [change, prepare](int fd) { as(change, [&] { prepare(fd); }); };
    const auto connect = dial.connect;
    dial.connect = [change, connect](int fd, const sockaddr* to, socklen_t length) {
        int error = 0;
        as(change, [&] {
            if (connect) error = connect(fd, to, length);
            if (!connect && ::connect(fd, to, length) != 0) error = errno;
        });
        return error;
    };
    return dial;
}

}

void bind_to_device(int fd) {
    must_set(fd, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5, "bind to eth0");
}

void set_mark(int fd, unsigned mark) {
    must_set(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark, "set a mark");
}

void bind_anywhere(int fd, bool transparent, const SocketAddress& from) {
    const int one = 1;
    const bool v4 = from.ip.is_v4();
    const int option =
        v4 ? (transparent ? IP_TRANSPARENT : IP_FREEBIND) : (transparent ? IPV6_TRANSPARENT : IPV6_FREEBIND);
    must_set(fd, v4 ? int{IPPROTO_IP} : int{IPPROTO_IPV6}, option, &one, sizeof one, "bind anywhere");
    sockaddr_storage raw{};
    const socklen_t length = from.to(raw);
    if (::bind(fd, reinterpret_cast<sockaddr*>(&raw), length) != 0)
        throw std::system_error(errno, std::system_category(), "bind " + from.to_string());
}

Dial without_rights(Dial dial) {
    return done_by(become_nobody, std::move(dial));
}

Dial with_only(int capability, Dial dial) {
    return done_by([capability] { keep_only({capability}); }, std::move(dial));
}

SecondAddress::SecondAddress(const Pod& pod, IpAddress ip) : netns_{pod.netns()}, ip_{ip} {
    std::vector<std::string> add{"ip", "address", "add", ip.to_string() + (ip.is_v4() ? "/24" : "/64"), "dev", "eth0"};
    if (!ip.is_v4()) add.push_back("nodad");
    must(add, netns_);
}

SecondAddress::~SecondAddress() {
    run({"ip", "address", "del", ip_.to_string() + (ip_.is_v4() ? "/24" : "/64"), "dev", "eth0"}, netns_);
}

void check_sealed(World& world, Family family, Dial how, std::string_view early) {
    Server echo{world.far.netns(), 8080, apps::echo};
    for (const SocketAddress& target : {world.far.at(family, 8080), world.vip("far", family)}) {
        INFO("target ", target.to_string());
        Tap cable{world.lab.node_netns(1), world.client.host_link()};
        how.to = target;
        Connection app = world.client.dial(how);
        if (early.empty()) CHECK(app.echoes(secret));
        if (!early.empty()) {
            app.send(secret);
            CHECK(app.receive(early.size() + secret.size()) == std::string{early} + std::string{secret});
        }
        CHECK(app.peer() == target);
        const auto passed = cable.packets();
        CHECK(let_out(passed, {target.ip, world.far.ip(family)}, secret) == "");
        CHECK(std::ranges::any_of(passed, [](const Packet& packet) { return packet.touches(15008); }));
        if (!early.empty()) CHECK(holding(passed, early).empty());
    }
}

}
