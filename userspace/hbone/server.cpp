// SPDX-License-Identifier: Apache-2.0
#include <culvert/hbone/server.hpp>

#include <algorithm>

#include <culvert/base/shortage.hpp>
#include <culvert/hbone/sources.hpp>

#include "session.hpp"
#include "texts.hpp"

namespace culvert::hbone {
namespace {

// One accepted connection, in the frame of its serve().
class Inbound final : public Session::Owner, public base::AutoListHook, public Handshakes::Guest {
public:
    Inbound(base::Loop& loop, tls::CredentialsPtr o, RequestHandler& handler)
        : ended{loop}, own{std::move(o)}, handler_{handler}, drain_{loop, [this] { session->drain(); }} {}
    ~Inbound() {
        if (!session) return;
        base::shortage::guard(
            "the reason of an end", [this] { session->abort(drain_error()); },
            [this] { session->abort(base::shortage::error()); });
        session->disown();  // it may be in the middle of something, and end later in this round
    }

    void on_open() override {
        leave();
        drain_before(session->peer_good_until() - std::chrono::system_clock::now());
    }
    void on_request(Incoming incoming) override {
        if (session->peer_is_revoked()) return session->abort(peer_revoked());
        handler_.on_request(std::move(incoming));
    }
    void on_closed(const base::Error* why) override {
        leave();
        if (why) result = base::copy_of(*why);
        ended.set();
    }

    // GOAWAY after so long, or as long as was said before if that is sooner.
    void drain_before(base::Loop::Clock::duration left) {
        const auto now = base::Loop::Clock::now();
        const auto at = now + std::max(left, base::Loop::Clock::duration::zero());
        if (at >= drains_at_) return;
        drains_at_ = at;
        drain_.arm(at - now);
    }

    std::shared_ptr<Session> session;
    base::Event ended;
    base::Result<> result;
    const tls::CredentialsPtr own;

private:
    void put_out() override {
        leave();
        session->abort(base::problem("over a limit: handshakes of this node, and this one was the oldest"));
    }
    RequestHandler& handler_;
    base::Timer drain_;
    base::Loop::Clock::time_point drains_at_ = base::Loop::Clock::time_point::max();
};

// Of the time that an earlier certificate has left. Not all at once: their peers all make new tunnels.
double share_of(const base::SocketAddress& peer) noexcept {
    return 0.2 + 0.5 * (peer.port % 64) / 64.0;
}

}

struct Server::Tunnels {
    base::intrusive::list<Inbound, base::intrusive::constant_time_size<false>> all;
    bool draining = false;
    std::size_t count = 0;
    Sources sources;
};

// A tunnel's place among those of its server.
class Server::Place {
public:
    Place(std::shared_ptr<Tunnels> tunnels, const base::IpAddress& source)
        : tunnels_{std::move(tunnels)}, source_{source} {
        tunnels_->sources.add(source_);
        ++tunnels_->count;
    }
    ~Place() {
        --tunnels_->count;
        tunnels_->sources.remove(source_);
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    const char* too_many(const Settings& limits) const {
        if (tunnels_->count > limits.server_tunnels) return "over a limit: tunnels to this pod";
        if (tunnels_->sources.of(source_) > Sources::share(source_, limits.server_tunnels_of_one))
            return "over a limit: tunnels from this source to this pod";
        return nullptr;
    }

private:
    std::shared_ptr<Tunnels> tunnels_;
    base::IpAddress source_;
};

Server::Server(base::Loop& loop, const Settings& settings, Handshakes& handshakes)
    : loop_{loop}, settings_{settings}, handshakes_{handshakes}, tunnels_{std::make_shared<Tunnels>()} {
    Session::prepare();
}

Server::~Server() = default;

base::Task<base::Result<>> Server::serve(std::unique_ptr<base::Socket> socket, tls::CredentialsPtr own,
                                         RequestHandler& handler) {
    auto tunnels = tunnels_;  // a task may outlive its server
    auto source = base::peer_address(socket->fd()).ip;
    Place place{tunnels, source};
    const char* refusal = place.too_many(settings_);
    Inbound tunnel{loop_, own, handler};
    if (!refusal && !handshakes_.enter(tunnel, source)) refusal = "over a limit: handshakes from this source";
    if (refusal) {
        socket->close_with_reset(true);
        co_return base::problem(refusal);
    }
    auto channel = tls::Channel::server(std::move(own));
    if (!channel) co_return channel.error();
    tunnel.session = Session::start(Role::server, std::move(socket), std::move(*channel), settings_, tunnel);
    tunnels->all.push_back(tunnel);
    if (tunnels->draining) tunnel.session->drain();
    co_await tunnel.ended;
    co_return std::move(tunnel.result);
}

void Server::renew(const tls::CredentialsPtr& current) {
    const auto now = std::chrono::system_clock::now();
    for (Inbound& tunnel : tunnels_->all) {
        if (tunnel.own == current) continue;
        const std::chrono::duration<double> left = tunnel.own->not_after - now;
        tunnel.drain_before(
            std::chrono::duration_cast<base::Loop::Clock::duration>(left * share_of(tunnel.session->info().peer)));
    }
}

void Server::drain() {
    tunnels_->draining = true;
    for (Inbound& tunnel : tunnels_->all) tunnel.session->drain();  // closes none before this returns
}

std::size_t Server::tunnels() const noexcept {
    return tunnels_->all.size();
}

}
