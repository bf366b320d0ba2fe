// SPDX-License-Identifier: Apache-2.0
// The accepting side of one tunnel: mutual TLS, HTTP/2, CONNECT requests handed to whoever decides.
//
// Lives on: the worker that accepted the connection.
#pragma once
#include <memory>
#include <string>

#include <culvert/base/socket.hpp>
#include <culvert/hbone/handshakes.hpp>
#include <culvert/hbone/settings.hpp>
#include <culvert/hbone/stream.hpp>
#include <culvert/tls/credentials.hpp>

namespace culvert::hbone {

// What everybody on a tunnel shares.
struct TunnelInfo {
    base::SocketAddress peer;                         // who connected to us, the tunnel's own port
    base::SocketAddress local;                        // what it dialled: podIP:15008
    std::shared_ptr<const state::Identity> identity;  // the peer's first SPIFFE id, or null
};

// A CONNECT that waits for its answer. Dropped unanswered: 503.
class Incoming {
public:
    class Impl;
    explicit Incoming(std::shared_ptr<Impl> impl) noexcept;
    Incoming(Incoming&&) noexcept;
    Incoming& operator=(Incoming&&) noexcept;
    ~Incoming();

    const Request& request() const noexcept;  // authority as it came; may be nonsense
    const std::string& method() const noexcept;
    const TunnelInfo& tunnel() const noexcept;
    // The peer has reset it or gone: an answer would reach nobody.
    bool gone() const noexcept;

    // HEADERS with END_STREAM, then RST_STREAM(NO_ERROR) once they have left, as ztunnel does.
    void refuse(int status);
    // 200, with our baggage where there is one.
    Stream accept(const std::string& baggage);
    // The same in two steps: what came with the request can be taken before the 200, and nothing leaves before it.
    Stream stream() const noexcept;
    void say_ok(const std::string& baggage);
    // Bytes came with the request: the peer does not wait for the 200 to send.
    bool has_first_bytes() const noexcept;

private:
    std::shared_ptr<Impl> impl_;
};

class RequestHandler {
public:
    // In the middle of a batch: take it and return; answer at any later time.
    virtual void on_request(Incoming incoming) = 0;

protected:
    ~RequestHandler() = default;
};

// Serves one accepted connection until it ends. An Error is a handshake that failed, or a protocol error that ended
// the tunnel; a peer that closes is no error. What is over a limit is closed with RST. Destroying the task ends the
// tunnel abruptly.
class Server {
public:
    // The handshakes of all servers of a worker; borrowed.
    Server(base::Loop& loop, const Settings& settings, Handshakes& handshakes);

    base::Task<base::Result<>> serve(std::unique_ptr<base::Socket> socket, tls::CredentialsPtr own,
                                     RequestHandler& handler);
    // Our certificate was renewed. Tunnels made with an earlier one get GOAWAY before that ends, each at a time of its
    // own. Those whose peer's certificate ends get it in any case.
    void renew(const tls::CredentialsPtr& current);
    // GOAWAY on every tunnel of this server; each ends with its last stream, by close_notify.
    void drain();
    std::size_t tunnels() const noexcept;
    ~Server();

private:
    struct Tunnels;
    class Place;
    base::Loop& loop_;
    Settings settings_;
    Handshakes& handshakes_;
    std::shared_ptr<Tunnels> tunnels_;  // with every serve() that still runs
};

}
