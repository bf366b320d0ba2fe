// SPDX-License-Identifier: Apache-2.0
// The other end of a tunnel, driven by a fuzzer's bytes: real TLS over a socket pair, then frames of every kind, good
// ones and bad ones, cut where the bytes say. What Culvert answers goes through a WireCheck.
//
// The bytes are a small program, so that most of them get past preface, SETTINGS and HEADERS: see Peer::act().
#pragma once
#include <culvert/base/fd.hpp>
#include <culvert/tls/channel.hpp>

#include <memory>
#include <string>

#include "input.hpp"
#include "wire_check.hpp"

namespace fuzz {

class Opposite;

class Peer {
public:
    enum class Manners { raw, polite };
    // `culvert_is_server`: then this is the client. Polite: says only what nghttp2 lets it say, which in its turn must
    // find nothing wrong with Culvert.
    Peer(culvert::base::Fd fd, culvert::tls::Channel channel, bool culvert_is_server, std::uint32_t connection_window,
         Manners manners);
    ~Peer();

    // One instruction. True: what was said is to arrive before the next one.
    bool act(Input& input);
    // Handshake, reading, writing, as far as each goes now.
    void turn();
    // Leaves without a word.
    void leave() { fd_ = {}; }
    bool gone() const noexcept { return !fd_; }

private:
    void frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, const std::string& payload);
    void say(const std::string& plaintext);
    void headers(Input& input);
    void again(std::size_t times);
    void end(unsigned how);
    void receive();
    void take(std::span<const std::byte> ciphertext);
    void send();

    const bool is_client_;
    culvert::base::Fd fd_;
    culvert::tls::Channel channel_;
    WireCheck check_;
    std::unique_ptr<Opposite> opposite_;
    bool established_ = false, failed_ = false, reads_ = true, closes_ = false;
    std::string plaintext_, last_frame_;
    culvert::tls::Output ciphertext_;
};

}
