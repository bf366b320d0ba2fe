// SPDX-License-Identifier: Apache-2.0
// Certificates that their issuers have taken back: what a CRL file says, for every handshake of this process.
//
// As ztunnel has it: of the whole chain, in both directions; an issuer without a list revokes
// nothing, and a list that is over goes on.
#pragma once
#include <openssl/x509.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>

namespace culvert::tls {

// Immutable once made.
class Revocations {
public:
    // PEM, in which what is no CRL is passed over, or one DER. Fails when a list cannot be read.
    static base::Result<std::shared_ptr<const Revocations>> read(const std::string& bytes);

    // In force from now on, for handshakes to come, and for what is open when its tunnel looks. Any thread.
    static void publish(std::shared_ptr<const Revocations> list);
    // Null: none. Borrowed by this thread until it asks again. Takes a lock only when there is a new one.
    static const Revocations* in_force() noexcept;
    // Changes with every publish(): never 0.
    static std::uint64_t generation() noexcept;

    // Leaf first, as it was verified.
    bool revoke(const STACK_OF(X509) * chain) const noexcept;
    std::size_t size() const noexcept { return size_; }

private:
    using List = base::Handle<X509_CRL, X509_CRL_free>;
    std::vector<List> lists_;
    std::size_t size_ = 0;
};

}
