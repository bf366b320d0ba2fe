// SPDX-License-Identifier: Apache-2.0
// The other end of a tunnel, by hand: TLS, and frames as bytes. Says what a well-behaved library would not.
#pragma once
#include <culvert/tls/channel.hpp>

#include <optional>

#include "fixtures.hpp"

namespace fixtures {

struct Frame {
    std::uint8_t type = 0xff;
    std::uint8_t flags = 0;
    std::uint32_t stream = 0;
    std::string payload;
};

enum : std::uint8_t { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, GOAWAY = 7, WINDOW_UPDATE = 8 };
enum : std::uint8_t { ACK = 1, END_STREAM = 1, END_HEADERS = 4, PADDED = 8 };

std::string bytes_of(std::uint32_t number);  // 4, network order
std::uint32_t number_of(const std::string& payload, std::size_t at = 0);
std::string connect_to(const std::string& authority);  // a header block
inline const std::string answer_200 = "\x88";
inline const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

class RawPeer {
public:
    // The server's side of the next connection of the pool; connects to the World's server.
    static Task<std::unique_ptr<RawPeer>> accepted(World& w);
    static Task<std::unique_ptr<RawPeer>> connected(World& w);
    RawPeer(std::unique_ptr<base::Socket> socket, tls::Channel channel);

    Task<bool> handshake();
    // Nothing: the connection has ended.
    Task<std::optional<Frame>> next();
    // The next of this type; others are passed over, SETTINGS and PING are answered.
    Task<std::optional<Frame>> next(std::uint8_t type);
    Task<std::string> take(std::size_t bytes);  // shorter: ended

    void send(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, const std::string& payload = {});
    void send_raw(const std::string& plaintext);
    void close_notify();

    std::unique_ptr<base::Socket> socket;
    tls::Channel channel;
    bool said_goodbye = false;  // close_notify has come
    bool answers_pings = true;

private:
    Task<bool> more();
    void flush();
    tls::Output out_;
    std::vector<std::byte> cipher_;
    std::string plain_;
    std::size_t frames_ = 0;
};

}
