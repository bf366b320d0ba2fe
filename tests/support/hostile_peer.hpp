// SPDX-License-Identifier: Apache-2.0
// The other end of a tunnel that keeps no rule: TLS as it is told to, and any frame at any time. Client or server.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "connection.hpp"
#include "forger.hpp"

namespace culvert::test {

namespace h2 {
enum Type : std::uint8_t {
    DATA = 0,
    HEADERS = 1,
    PRIORITY = 2,
    RST_STREAM = 3,
    SETTINGS = 4,
    PUSH_PROMISE = 5,
    PING = 6,
    GOAWAY = 7,
    WINDOW_UPDATE = 8,
    CONTINUATION = 9
};
enum Flag : std::uint8_t { ACK = 1, END_STREAM = 1, END_HEADERS = 4, PADDED = 8 };
inline const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct Frame {
    std::uint8_t type = 0xff;
    std::uint8_t flags = 0;
    std::uint32_t stream = 0;
    std::string payload;
};
std::string number(std::uint32_t value);  // four bytes
std::uint32_t number_in(const std::string& payload, std::size_t at = 0);
std::string frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, const std::string& payload = {});
std::string setting(std::uint16_t id, std::uint32_t value);
// A header block without Huffman and without any table.
std::string block(const std::vector<std::pair<std::string, std::string>>& headers);
std::string connect_to(const std::string& authority);
}

struct Tls {
    const Papers* papers = nullptr;  // null: none
    int lowest = TLS1_3_VERSION, highest = TLS1_3_VERSION;
    std::string alpn = "h2";  // empty: none is offered
    std::string early = {};   // what a client sends in its first flight, under a ticket that it has made up
};

class HostilePeer {
public:
    // TCP alone, from this namespace.
    HostilePeer(int netns, const SocketAddress& to);
    // One that has called.
    explicit HostilePeer(base::Fd accepted);

    // Empty: TLS is up as far as this side can tell; else what went wrong.
    std::string shake_hands(const Tls& tls, bool as_server = false);
    // Sends a ClientHello and no more.
    void begin_handshake(const Tls& tls);
    // The preface, empty SETTINGS and the ACK of the other side's.
    void begin_http2();

    void send(const std::string& bytes);
    // False: the other side takes nothing more.
    bool try_send(const std::string& bytes);
    void send(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, const std::string& payload = {}) {
        send(h2::frame(type, flags, stream, payload));
    }
    // Nothing: it has ended. Throws when nothing comes.
    std::optional<h2::Frame> next();
    // The next of this type. The other side's PINGs are answered on the way.
    std::optional<h2::Frame> next(std::uint8_t type);
    // So many bytes, whatever they mean.
    std::string raw(std::size_t bytes);
    // How it ends: "GOAWAY <code>", "alert <reason>", "end", "reset" or "silence".
    std::string ending(Milliseconds limit = 10s);
    bool key_update(bool ask_back);

    Connection& tcp() noexcept { return tcp_; }
    SSL* ssl() noexcept { return ssl_.get(); }

private:
    void prepare(const Tls& tls, bool as_server);
    bool more();
    Connection tcp_;
    base::Handle<SSL_CTX, SSL_CTX_free> context_;
    base::Handle<SSL, SSL_free> ssl_;
    std::string plain_;
    std::string broken_;  // why no more comes
};

// Listens on a port of a pod that is not in the mesh, and hands out who calls.
class HostileServer {
public:
    HostileServer(int netns, std::uint16_t port);
    HostilePeer accept(Milliseconds limit = 10s);

private:
    base::Fd listener_;
};

}
