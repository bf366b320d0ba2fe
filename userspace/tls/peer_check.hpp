// SPDX-License-Identifier: Apache-2.0
// Whether the peer is who it must be: chain and purpose by OpenSSL, then h2, then the SPIFFE names.
#pragma once
#include <openssl/ssl.h>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <culvert/state/identity.hpp>

namespace culvert::tls {

// One per connection; the SSL's app data points at it.
struct PeerCheck {
    bool peer_is_server = false;
    std::vector<std::string> accepted;        // peer is a server: whole URI names
    std::optional<std::string> trust_domain;  // peer is a client: ours, unless our certificate names none

    std::optional<state::Identity> peer;  // the answer
    std::string refusal;                  // why not, where OpenSSL has no words for it

    // Once the handshake is done: messages that are no bytes (KeyUpdate, tickets), each of which costs keys.
    static constexpr unsigned most_messages = 64;
    std::span<const std::byte>* input = nullptr;  // null: not done yet
    unsigned messages = 0;
};

// For SSL_CTX_set_cert_verify_callback: what it refuses leaves with the right alert.
int verify_peer(X509_STORE_CTX* chain, void*) noexcept;
// For SSL_CTX_set_info_callback: of a peer that sends too many it takes the rest of the input away.
void count_messages(const SSL* ssl, int where, int) noexcept;

}
