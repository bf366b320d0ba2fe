// SPDX-License-Identifier: Apache-2.0
// TLS towards a server: the roots, and whether its certificate is good for the name that we called.
#pragma once
#include <openssl/ssl.h>

#include <culvert/base/fd.hpp>
#include <culvert/grpc/target.hpp>

namespace culvert::grpc {

using Ssl = base::Handle<SSL, SSL_free>;

// Reads the roots.
base::Result<Ssl> open_tls(const Target& target, const Endpoint& endpoint);

// After the handshake: h2, and the server's name.
base::Result<> check_server(SSL& ssl, const Target& target, const Endpoint& endpoint);

// Why the handshake failed. Takes OpenSSL's errors of this thread.
base::Error handshake_problem(SSL& ssl, const Target& target, const Endpoint& endpoint);
// The oldest of OpenSSL's errors of this thread, which is the cause of the others; all are taken.
std::string take_reason();

}
