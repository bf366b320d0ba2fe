// SPDX-License-Identifier: Apache-2.0
// Certificates of every kind, and two ends that speak in memory.
#pragma once
#include <culvert/tls/authority.hpp>
#include <culvert/tls/channel.hpp>
#include <tls/x509_build.hpp>

#include <string>
#include <vector>

namespace fixtures {

namespace tls = culvert::tls;
using culvert::state::Identity;
using culvert::tls::Output;

inline const Identity alice{"cluster.local", "shop", "alice"};
inline const Identity bob{"cluster.local", "shop", "bob"};

// A directory that goes away with the test.
struct Folder {
    Folder();
    ~Folder();
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    std::string path;
};

// A CA that signs what nobody should sign.
struct Issuer {
    tls::Certificate certificate;
    tls::Key key;

    static Issuer root(const std::string& name, tls::Key key = *tls::make_p256_key());
    static Issuer rsa_root(const std::string& name);
    Issuer intermediate(const std::string& name, tls::Key key = *tls::make_p256_key()) const;
    std::string pem() const { return *tls::to_pem(*certificate); }
};

struct Wanted {
    std::vector<std::string> uris;
    std::chrono::seconds from{-120};
    std::chrono::seconds until{3600};
    std::vector<int> usages{NID_server_auth, NID_client_auth};
};
// A leaf; the roots of the result are the issuer itself.
tls::Pem leaf(const Issuer& issuer, const Wanted& wanted);
tls::CredentialsPtr credentials(const tls::Pem& pem, const Identity& identity);
// What the embedded authority would give.
tls::CredentialsPtr good(const Issuer& issuer, const Identity& identity);

// Two channels and what is on its way between them.
struct Pair {
    Pair(tls::Channel c, tls::Channel s);

    // Until both are done or one has failed; then also hands the alert over. Empty errors mean success.
    void shake(std::size_t piece = 1 << 20);

    tls::Channel client;
    tls::Channel server;
    Output to_server;
    Output to_client;
    std::string client_error;
    std::string server_error;
    bool client_done = false;
    bool server_done = false;
};
Pair pair(tls::CredentialsPtr client, tls::CredentialsPtr server, std::vector<std::string> accepted);

// Hands all of `wire` to the channel in pieces and returns the plaintext; stops at the first error.
struct Opened {
    std::vector<std::byte> plaintext;
    std::string error;
};
Opened open_all(tls::Channel& channel, Output& wire, std::size_t piece = 1 << 20, std::size_t room = 1 << 16);

// A peer that is not ours: OpenSSL as it comes, with memory BIOs.
struct Stranger {
    Stranger(const SSL_METHOD* method, const tls::Pem* own, const char* groups = "X25519");
    void start(bool as_client);
    // Speaks with the channel until it is done or fails.
    std::string shake(tls::Channel& channel);
    void feed(Output& wire);
    void drain(Output& wire);

    tls::SslCtx ctx;
    tls::Ssl ssl;
};

std::vector<std::byte> noise(std::size_t size, std::uint32_t seed);

}
