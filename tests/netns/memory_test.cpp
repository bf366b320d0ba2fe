// SPDX-License-Identifier: Apache-2.0
// What open connections cost a daemon in memory, and what is left when they are gone. A test of release builds: no
// other has the sizes that count.
#include <doctest/doctest.h>

#include <sys/socket.h>

#include <atomic>
#include <fstream>
#include <optional>
#include <string>
#include <thread>

#include <culvert/base/netns.hpp>

#include "outcome.hpp"
#include "server.hpp"
#include "world.hpp"

namespace base = culvert::base;
using namespace culvert::test;

namespace {

constexpr std::uint16_t port = 8082;
constexpr std::size_t size = 64;
const std::string text(size, 'm');

// One thread for all: answers each connection once and keeps it.
class Keeper {
public:
    explicit Keeper(int netns) {
        auto made = base::in_netns(netns, []() -> base::Result<base::Fd> {
            base::Fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
            sockaddr_storage raw;
            const socklen_t length = SocketAddress{IpAddress::any(AF_INET), port}.to(raw);
            if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&raw), length) != 0) return base::errno_while("bind");
            if (::listen(fd.get(), 1024) != 0) return base::errno_while("listen");
            return fd;
        });
        REQUIRE(made.has_value());
        listener_ = std::move(*made);
        thread_ = std::thread{[this] { answer_all(); }};
    }
    ~Keeper() {
        ::shutdown(listener_.get(), SHUT_RDWR);
        thread_.join();
    }

private:
    void answer_all() {
        for (char bytes[size];;) {
            base::Fd call{::accept(listener_.get(), nullptr, nullptr)};
            if (!call) return;
            if (::recv(call.get(), bytes, size, MSG_WAITALL) == size)
                (void)::send(call.get(), bytes, size, MSG_NOSIGNAL);
            kept_.push_back(std::move(call));
        }
    }

    base::Fd listener_;
    std::vector<base::Fd> kept_;
    std::thread thread_;
};

// What is in memory of what files begin with that are mapped for their code: symbols and relocations, mostly.
// proc(5), /proc/pid/smaps.
std::size_t symbol_bytes(const Node& node) {
    std::ifstream smaps{"/proc/" + std::to_string(node.pid()) + "/smaps"};
    std::size_t kilobytes = 0;
    bool symbols = false;
    for (std::string line; std::getline(smaps, line);) {
        if (line.find(" r--p 00000000 ") != std::string::npos)
            symbols = line.find('/') != std::string::npos;
        else if (line.find('-') < line.find(' '))
            symbols = false;
        else if (symbols && line.starts_with("Rss:"))
            kilobytes += std::strtoull(line.c_str() + 4, nullptr, 10);
    }
    return kilobytes * 1024;
}

// Until the one at the other end has taken nothing for a while: all that there is room for on the way.
std::size_t send_until_stalled(const Connection& app) {
    const std::string bytes(1 << 20, 'b');
    std::size_t sent = 0;
    for (int idle = 0; idle < 30; ++idle) {
        const ssize_t n = ::send(app.fd(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            sent += static_cast<std::size_t>(n);
            idle = 0;
        }
        std::this_thread::sleep_for(10ms);
    }
    return sent;
}

}

TEST_SUITE("memory") {

TEST_CASE("memory: 1000 idle connections cost each daemon 1.7 MB at most, and are forgotten" IPV4) {
    constexpr int many = 1000;
    constexpr std::size_t most = 1'700'000;
    World world;
    std::optional<Keeper> app{std::in_place, world.far.netns()};
    const SocketAddress target = world.far.at(Family::v4, port);
    constexpr std::size_t few = 64 * 1024;  // from then on: no connection needs any
    for (Node* node : {&world.one, &world.two}) CHECK(eventually(5s, [&] { return symbol_bytes(*node) <= few; }));
    // The first one brings code into memory, and makes a tunnel.
    CHECK(world.client.dial(target).echoes(text));
    CHECK(symbol_bytes(world.one) <= few);
    CHECK(symbol_bytes(world.two) <= few);

    const std::size_t client_side = world.one.resident_bytes();
    const std::size_t server_side = world.two.resident_bytes();
    {
        std::vector<Connection> open;
        for (int i = 0; i < many; ++i) {
            open.push_back(world.client.dial(target));
            REQUIRE(open.back().echoes(text));
        }
        CHECK(world.one.resident_bytes() < client_side + most);
        CHECK(world.two.resident_bytes() < server_side + most);
    }
    app.reset();
    // Tunnels stay for a while, code for good.
    constexpr std::size_t rest = 1'000'000;
    CHECK(eventually(30s, [&] { return world.one.resident_bytes() < client_side + rest; }));
    CHECK(eventually(30s, [&] { return world.two.resident_bytes() < server_side + rest; }));
}

TEST_CASE("memory: what the backlogs of stalled readers took goes back when they have gone" IPV4) {
    World world;
    std::atomic<bool> goes{false};
    Server stalled{world.far.netns(), port, [&goes](Connection& app) {
                       app.send(app.receive(1));
                       // Held until it is told to go; what it has not read is lost then.
                       while (!goes) std::this_thread::sleep_for(10ms);
                       app.reset();
                   }};
    const SocketAddress target = world.far.at(Family::v4, port);
    CHECK(world.client.dial(target).echoes("x"));
    const std::size_t before = world.two.resident_bytes();
    for (int time = 0; time < 2; ++time) {
        goes = false;
        std::vector<Connection> apps;
        for (int i = 0; i < 3; ++i) {
            apps.push_back(world.client.dial(target));
            REQUIRE(apps.back().echoes("x"));
            CHECK(send_until_stalled(apps.back()) > (4 << 20));
        }
        goes = true;
        for (Connection& app : apps) CHECK(app.ending() != "silence");
    }
    constexpr std::size_t rest = 6'000'000;  // buffers of each worker, code
    CHECK(eventually(30s, [&] { return world.two.resident_bytes() < before + rest; }));
}

}
