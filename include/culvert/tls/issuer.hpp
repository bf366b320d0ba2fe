// SPDX-License-Identifier: Apache-2.0
// Whoever signs certificates for this node's identities: the embedded CA, or the one of a control plane.
//
// Lives on: the control thread.
#pragma once
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include <culvert/base/result.hpp>
#include <culvert/tls/credentials.hpp>

namespace culvert::tls {

class Issuer {
public:
    using Issued = std::function<void(base::Result<Pem>)>;
    // For a key that is made for this one request. Answers once, on the control thread: perhaps before this returns,
    // and never after the issuer's end.
    virtual void issue(const state::Identity& identity, std::chrono::seconds lifetime, Issued issued) = 0;

protected:
    ~Issuer() = default;
};

// What a CA is sent, and the key that its certificate will belong to.
struct Csr {
    std::string pem;  // empty subject, one critical URI SAN, signed with SHA-256
    std::string key;  // EC P-256, PKCS #8
};
base::Result<Csr> make_csr(const state::Identity& identity);

// A CA's answer: the leaf first, then intermediates, the roots in the last element. Fails when there are not both.
base::Result<Pem> pem_of(std::vector<std::string> chain, std::string key);

}
