// SPDX-License-Identifier: Apache-2.0
#include <culvert/hbone/server.hpp>

#include <culvert/base/shortage.hpp>

#include "session.hpp"
#include "texts.hpp"

namespace culvert::hbone {
namespace {

// One accepted connection, in the frame of its serve().
class Tunnel final : public Session::Owner, public base::AutoListHook {
public:
    Tunnel(base::Loop& loop, RequestHandler& handler) noexcept : ended{loop}, handler_{handler} {}
    ~Tunnel() {
        if (!session) return;
        base::shortage::guard(
            "the reason of an end", [this] { session->abort(drain_error()); },
            [this] { session->abort(base::shortage::error()); });
        session->disown();  // it may be in the middle of something, and end later in this round
    }

    void on_open() override {}
    void on_request(Incoming incoming) override { handler_.on_request(std::move(incoming)); }
    void on_closed(const base::Error* why) override {
        if (why) result = base::copy_of(*why);
        ended.set();
    }

    std::shared_ptr<Session> session;
    base::Event ended;
    base::Result<> result;

private:
    RequestHandler& handler_;
};

}

struct Server::Tunnels {
    base::intrusive::list<Tunnel, base::intrusive::constant_time_size<false>> all;
    bool draining = false;
};

Server::Server(base::Loop& loop, const Settings& settings)
    : loop_{loop}, settings_{settings}, tunnels_{std::make_shared<Tunnels>()} {
    Session::prepare();
}

Server::~Server() = default;

base::Task<base::Result<>> Server::serve(std::unique_ptr<base::Socket> socket, tls::CredentialsPtr own,
                                         RequestHandler& handler) {
    auto tunnels = tunnels_;  // a task may outlive its server
    auto channel = tls::Channel::server(std::move(own));
    if (!channel) co_return channel.error();
    Tunnel tunnel{loop_, handler};
    tunnel.session = Session::start(Role::server, std::move(socket), std::move(*channel), settings_, tunnel);
    tunnels->all.push_back(tunnel);
    if (tunnels->draining) tunnel.session->drain();
    co_await tunnel.ended;
    co_return std::move(tunnel.result);
}

void Server::drain() {
    tunnels_->draining = true;
    for (Tunnel& tunnel : tunnels_->all) tunnel.session->drain();  // closes none before this returns
}

std::size_t Server::tunnels() const noexcept {
    return tunnels_->all.size();
}

}
