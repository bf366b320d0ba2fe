// SPDX-License-Identifier: Apache-2.0
// Bytes to and from a connected, non-blocking socket, through TLS or as they are. Never blocks, never signals.
#pragma once
#include <cstddef>
#include <span>
#include <string_view>

#include <culvert/base/result.hpp>

#include "secure.hpp"

namespace culvert::grpc {

// What must happen to the socket before it goes on.
enum class Wait : std::uint8_t { nothing, readable, writable };

struct Moved {
    std::size_t bytes = 0;
    Wait wait = Wait::nothing;
    bool end = false;  // the server sends no more
};

class Transport {
public:
    // Borrows the socket. Without `ssl`: plaintext.
    Transport(int socket, Ssl ssl);

    // Nothing to wait for: done. Fails with handshake_problem().
    base::Result<Wait> handshake(const Target& target, const Endpoint& endpoint);
    base::Result<Moved> read(std::span<std::uint8_t> into);
    base::Result<Moved> write(std::string_view bytes);
    void say_goodbye() noexcept;

private:
    base::Result<Moved> after(int result, std::size_t bytes, const char* doing);

    int socket_;
    Ssl ssl_;
};

}
