// SPDX-License-Identifier: Apache-2.0
// Keeps a valid certificate for every identity of this node: asked for when the identity comes, and again at half life.
//
// One request per identity, few at a time, those first that a connection waits for. A request that failed is repeated
// ever later; the certificate that there is stays in use until it has expired.
//
// Lives on: the control thread. Owns: one timer on its io_context.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <culvert/base/result.hpp>
#include <culvert/tls/credentials.hpp>
#include <culvert/tls/issuer.hpp>

namespace boost::asio {
class io_context;
}

namespace culvert::tls {

// What metrics and the admin door show of one identity.
struct CertificateStats {
    state::Identity identity;
    std::string state;   // "Initializing", "Available" or "Unavailable: <reason>", ztunnel's words
    std::string serial;  // decimal; empty, and the times are of no meaning, while there is no certificate
    SystemTime not_before;
    SystemTime not_after;
    std::chrono::steady_clock::duration age{};  // since we have it
    std::uint64_t renewals = 0;                 // the first issue is none
    std::uint64_t failures = 0;
    std::string last_failure;  // empty once a request went well again
};

// Since the start, those of identities that have gone included.
struct CertificateTotals {
    std::uint64_t issued = 0;
    std::uint64_t failed = 0;
    std::size_t under_way = 0;
};

// A certificate as config_dump shows it.
struct CertificateText {
    std::string pem;
    std::string serial;                   // decimal
    std::chrono::sys_seconds not_before;  // roots are known to outlive SystemTime
    std::chrono::sys_seconds not_after;
};
struct CertificateDump {
    state::Identity identity;
    std::string state;
    std::string last_failure;            // empty once a request went well again
    std::vector<CertificateText> chain;  // the leaf first
    std::vector<CertificateText> roots;
};

class CertificateManager {
public:
    // Called on the control thread with every change, also from inside the other calls.
    using Publish = std::function<void(CredentialsMapPtr)>;

    // The issuer is borrowed. Certificates count in whole seconds; a ttl below one is one.
    CertificateManager(boost::asio::io_context& io, Issuer& issuer, std::chrono::milliseconds ttl, Publish publish);
    ~CertificateManager();

    // Counted: two pods may share an identity, and each add() wants its own remove(). Has its certificate on return
    // when the issuer answers at once; else, and when that fails, it comes when it comes.
    void add(const state::Identity& identity);
    void remove(const state::Identity& identity);

    // A connection waits for it.
    void hurry(const state::Identity& identity);
    // There are new roots, say: all are asked for again, spread over this time.
    void renew_all(std::chrono::milliseconds within);

    std::vector<CertificateStats> stats() const;
    CertificateTotals totals() const;
    std::vector<CertificateDump> dump() const;

private:
    struct Impl;
    std::shared_ptr<Impl> impl_;  // a timer that has already fired, or an answer, looks whether it is still there
};

}
