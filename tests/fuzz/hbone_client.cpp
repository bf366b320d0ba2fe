// SPDX-License-Identifier: Apache-2.0
// Tunnels that we open: the real Pool, against servers that say anything.
#include <culvert/hbone/pool.hpp>

#include "credentials.hpp"
#include "drive.hpp"
#include "peer.hpp"
#include "user.hpp"

using namespace culvert;
using fuzz::require;

namespace {

const hbone::Settings settings{.stream_window = 48u << 10,
                               .connection_window = 128u << 10,
                               .pool_streams = 8,
                               .ping_interval = std::chrono::hours{1}};
constexpr std::size_t most_peers = 6, most_openings = 64;

struct World final : hbone::Dialer, fuzz::Drive {
    explicit World(fuzz::Input& program) : Drive{loop}, input{program}, kind{program.number(1)} { open(); }
    ~World() {
        tasks.cancel_all();
        pool.reset();
    }

    base::Task<base::Result<std::unique_ptr<base::Socket>>> dial(const hbone::PoolKey&) override {
        if (peers.size() == most_peers) co_return base::problem("enough");
        auto [ours, theirs] = fuzz::connected();
        static const auto server = fuzz::credentials("server");
        auto channel = tls::Channel::server(server);
        require(channel.has_value(), "a server's channel can be made");
        peers.push_back(
            std::make_unique<fuzz::Peer>(std::move(theirs), std::move(*channel), false, settings.connection_window,
                                         kind & 1 ? fuzz::Peer::Manners::polite : fuzz::Peer::Manners::raw));
        auto socket = base::Socket::watch(loop, std::move(ours));
        co_return std::move(socket);
    }

    base::Task<> opened(std::vector<std::byte> first, std::uint32_t habits) {
        static const auto own = fuzz::credentials("client");
        hbone::PoolKey key{
            "pod", own->identity, {fuzz::spiffe("server")}, *base::SocketAddress::parse("10.0.0.7:15008")};
        hbone::Request request{.authority = "10.0.0.7:8080",
                               .baggage = "k8s.namespace.name=test",
                               .forwarded = "for=\"10.0.0.1:1234\"",
                               .traceparent = ""};
        auto opening = pool->open(key, own, std::move(request), std::move(first));
        auto stream = co_await std::move(opening);
        if (!stream) {
            require(!stream.error().to_string().empty(), "a failure has words");
            co_return;
        }
        users.push_back(std::make_unique<fuzz::User>(std::max(settings.stream_window, 65'535u)));
        users.back()->start(std::move(*stream), habits);
    }
    void open() {
        std::vector<std::byte> first(input.number(1) * 4, std::byte{'f'});
        std::uint32_t habits = input.number(1);
        if (openings++ < most_openings) tasks.spawn(opened(std::move(first), habits));
    }

    // The proxy's part.
    void decide() {
        std::uint32_t what = input.number(1);
        if (what % 16 == 15) return pool->drain();
        if (what % 16 == 14) return pool->retire("pod", what & 16);
        if (what % 2 == 0 || users.empty()) return open();
        users[input.number(1) % users.size()]->act(input);
    }

    bool act() override {
        while (!input.empty()) {
            if (input.number(1) % 4 == 0)
                decide();
            else if (!peers.empty() && !peers.back()->gone() && peers.back()->act(input))
                return true;
            else if (peers.empty() || peers.back()->gone())
                return true;
        }
        return false;
    }
    void turn() override {
        for (auto& peer : peers) peer->turn();
    }
    void leave() override {
        if (kind & 2) tasks.cancel_all();
        if (kind & 4) users.clear();
        pool->drain();
        for (auto& peer : peers) peer->leave();
    }
    // Also those that were dialled a moment ago.
    bool over() override {
        for (auto& peer : peers) peer->leave();
        return pool->empty() && tasks.size() == 0;
    }

    base::Loop loop;
    fuzz::Input& input;
    std::uint32_t kind;
    std::unique_ptr<hbone::Pool> pool = std::make_unique<hbone::Pool>(loop, *this, settings);
    std::vector<std::unique_ptr<fuzz::Peer>> peers;
    std::vector<std::unique_ptr<fuzz::User>> users;
    std::size_t openings = 0;
    base::TaskGroup tasks{loop};
};

}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input{data, size};
    World world{input};
    world.run();
    return 0;
}
