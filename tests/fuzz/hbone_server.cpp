// SPDX-License-Identifier: Apache-2.0
// A tunnel that a client opens: the real Server on a socket of the kernel, in real TLS, against a client that says
// anything.
#include <culvert/hbone/server.hpp>

#include <deque>

#include "credentials.hpp"
#include "drive.hpp"
#include "peer.hpp"
#include "user.hpp"

using namespace culvert;
using fuzz::require;

namespace {

const hbone::Settings settings{.stream_window = 48u << 10,
                               .connection_window = 128u << 10,
                               .server_streams = 20,
                               .ping_interval = std::chrono::hours{1}};
constexpr std::size_t late_users = 200;  // whose streams have ended: see session_callbacks.cpp

struct World final : hbone::RequestHandler, fuzz::Drive {
    explicit World(fuzz::Input& program) : Drive{loop}, input{program}, kind{program.number(1)} {
        auto [ours, theirs] = fuzz::connected();
        static const auto client = fuzz::credentials("client");
        auto channel = tls::Channel::client(client, {fuzz::spiffe("server")});
        require(channel.has_value(), "a client's channel can be made");
        peer = std::make_unique<fuzz::Peer>(std::move(theirs), std::move(*channel), true, settings.connection_window,
                                            kind & 1 ? fuzz::Peer::Manners::polite : fuzz::Peer::Manners::raw);
        tasks.spawn(serve(std::move(ours)));
    }
    ~World() { tasks.cancel_all(); }

    base::Task<> serve(base::Fd fd) {
        static const auto own = fuzz::credentials("server");
        auto socket = base::Socket::watch(loop, std::move(fd));
        auto ended = co_await server.serve(std::move(*socket), own, *this);
        require(ended || !ended.error().to_string().empty(), "a failure has words");
    }

    void on_request(hbone::Incoming incoming) override {
        require(incoming.request().authority.size() < settings.server_header_list, "headers are bounded");
        waiting.push_back(std::move(incoming));
        require(waiting.size() + users.size() <= settings.server_streams + late_users + past, "streams are bounded");
    }

    // The proxy's part.
    void decide() {
        std::uint32_t what = input.number(1), which = input.number(1);
        if (what % 8 == 7) return server.drain();
        if (what % 2 == 0 && !waiting.empty()) {
            auto at = waiting.begin() + which % static_cast<std::uint32_t>(waiting.size());
            hbone::Incoming incoming = std::move(*at);
            waiting.erase(at);
            ++past;
            std::uint32_t how = input.number(1);
            if (how % 4 == 0) return incoming.refuse(how & 4 ? 503 : 400);
            users.push_back(std::make_unique<fuzz::User>(std::max(settings.stream_window, 65'535u)));
            if (how % 4 == 1) {
                users.back()->start(incoming.stream(), input.number(1));
                return incoming.say_ok("");
            }
            return users.back()->start(incoming.accept("k8s.namespace.name=test"), input.number(1));
        }
        if (!users.empty()) users[which % users.size()]->act(input);
    }

    bool act() override {
        while (!input.empty()) {
            if (input.number(1) % 4 == 0)
                decide();
            else if (peer->act(input))
                return true;
            if (peer->gone()) return false;
        }
        return false;
    }
    void turn() override { peer->turn(); }
    void leave() override {
        if (kind & 2) tasks.cancel_all();
        if (kind & 4) users.clear();
        peer->leave();
    }
    bool over() override { return server.tunnels() == 0; }

    base::Loop loop;
    fuzz::Input& input;
    std::uint32_t kind;
    hbone::Handshakes handshakes{1000, 1000};
    hbone::Server server{loop, settings, handshakes};
    std::unique_ptr<fuzz::Peer> peer;
    std::deque<hbone::Incoming> waiting;
    std::vector<std::unique_ptr<fuzz::User>> users;
    std::size_t past = 0;  // requests that were decided: their streams may have ended, and made room for others
    base::TaskGroup tasks{loop};
};

}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input{data, size};
    World world{input};
    world.run();
    return 0;
}
