// SPDX-License-Identifier: Apache-2.0
// Keeps a valid certificate for every identity of this node: issues at once, renews at half life.
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
#include <culvert/tls/authority.hpp>
#include <culvert/tls/credentials.hpp>

namespace boost::asio {
class io_context;
}

namespace culvert::tls {

// What metrics and the admin door show of one identity.
struct CertificateStats {
    state::Identity identity;
    std::string serial;  // decimal
    SystemTime not_before;
    SystemTime not_after;
    std::uint64_t renewals = 0;  // the first issue is none
    std::uint64_t failures = 0;
    std::string last_failure;  // empty once a renewal went well again
};

class CertificateManager {
public:
    // Called on the control thread with every change, also from inside add() and remove().
    using Publish = std::function<void(CredentialsMapPtr)>;

    // Certificates count in whole seconds; a ttl below one is one.
    CertificateManager(boost::asio::io_context& io, const Authority& authority, std::chrono::milliseconds ttl,
                       Publish publish);
    ~CertificateManager();

    // Counted: two pods may share an identity, and each add() wants its own remove(). When it fails, nothing is kept.
    base::Result<> add(const state::Identity& identity);
    void remove(const state::Identity& identity);

    std::vector<CertificateStats> stats() const;

private:
    struct Impl;
    std::shared_ptr<Impl> impl_;  // a timer that has already fired looks whether it is still there
};

}
