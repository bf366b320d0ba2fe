// SPDX-License-Identifier: Apache-2.0
// What one identity needs to speak mutual TLS: OpenSSL contexts, built once per issued certificate.
#pragma once
#include <openssl/ssl.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>
#include <culvert/state/identity.hpp>

namespace culvert::tls {

using SslCtx = base::Handle<SSL_CTX, SSL_CTX_free>;
using SystemTime = std::chrono::system_clock::time_point;

// Immutable once made, so workers share it. Whoever holds it keeps the contexts alive.
struct Credentials {
    state::Identity identity;
    std::optional<state::Identity> certified;  // the first SPIFFE name in our certificate; equal to identity, or absent
    SslCtx client;  // TLS 1.3, AES-128-GCM before AES-256-GCM, ALPN h2, no SNI, our chain, peer verified by the roots
    SslCtx server;  // the same, and a client certificate is demanded
    SystemTime not_before;
    SystemTime not_after;
    std::string serial;  // decimal
};
using CredentialsPtr = std::shared_ptr<const Credentials>;

struct Pem {
    std::string chain;  // leaf first, then intermediates, no root
    std::string key;
    std::string roots;
};

// Fails when a certificate or key cannot be read, or they do not belong together.
base::Result<CredentialsPtr> make_credentials(const state::Identity& identity, const Pem& pem);

// How it stands with the certificate of one identity.
struct Standing {
    CredentialsPtr current;                          // null: there is none yet
    std::string failure;                             // why the last request failed; empty after one that went well
    std::chrono::steady_clock::time_point next_try;  // after a failure

    // What a connection speaks with now: none when there is none, or it has expired.
    CredentialsPtr good() const {
        return current && std::chrono::system_clock::now() < current->not_after ? current : nullptr;
    }
};

// Every identity this node speaks for. Published as a whole; workers keep the last one they were given.
using CredentialsMap = std::map<state::Identity, Standing>;
using CredentialsMapPtr = std::shared_ptr<const CredentialsMap>;

}
