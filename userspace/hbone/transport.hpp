// SPDX-License-Identifier: Apache-2.0
// One TCP connection under TLS, in buffers that the worker lends: an idle tunnel owns none.
//
// Lives on: one worker. Owns: the socket, the TLS state, and ciphertext that the kernel did not take yet.
#pragma once
#include <cstddef>
#include <memory>
#include <span>

#include <culvert/base/socket.hpp>
#include <culvert/tls/channel.hpp>

namespace culvert::hbone {

// One set per worker, used by whichever session is in its turn. Nothing in them outlives a call of the loop.
struct Buffers {
    static constexpr std::size_t ciphertext_in_size = 128 * 1024;
    static constexpr std::size_t plaintext_in_size = 128 * 1024;
    static constexpr std::size_t plaintext_out_size = 256 * 1024;
    static constexpr std::size_t control_room = 32 * 1024;  // past plaintext_out_size: a control frame always fits

    std::unique_ptr<std::byte[]> ciphertext_in, plaintext_in, plaintext_out;
    tls::Output ciphertext_out;

    static Buffers& of_this_thread();
};

class Transport {
public:
    Transport(std::unique_ptr<base::Socket> socket, tls::Channel channel);
    ~Transport();
    Transport(const Transport&) = delete;
    Transport& operator=(const Transport&) = delete;

    base::Socket& socket() noexcept { return *socket_; }
    tls::Channel& tls() noexcept { return channel_; }

    // One read, handed to TLS: how much came. 0: nothing now, or ended().
    base::Result<std::size_t> receive();
    // Reads what comes and forgets it.
    void discard() noexcept;
    bool ended() const noexcept { return ended_; }  // the peer's FIN has been read, or the connection is broken

    // Something is sealed and not sent.
    bool waiting() const noexcept { return !waiting_.empty(); }
    // Sealing more would only grow the queue.
    bool congested() const noexcept { return waiting_.size() > small; }

    // Seals this after what waits and sends in one call as much as the kernel takes.
    base::Result<> send(std::span<const std::byte> plaintext);
    // close_notify behind all that waits; the FIN follows when it has left.
    void close() noexcept;
    // The same, trying once, with something to say before it.
    void close_at_once(std::span<const std::byte> last_words) noexcept;

private:
    static constexpr std::size_t small = 16 * 1024;  // a handshake flight, not a backlog
    base::Result<> send_waiting();
    base::Result<std::size_t> write(std::span<const std::byte> bytes);
    void finish_if_closed() noexcept;

    std::unique_ptr<base::Socket> socket_;
    tls::Channel channel_;
    tls::Output waiting_;
    bool ended_ = false;
    bool closed_ = false;
};

}
