// SPDX-License-Identifier: Apache-2.0
// Certificates with any flaw, under the root that the daemons of a lab share, or under one that nobody knows.
#pragma once
#include <openssl/ssl.h>

#include <filesystem>
#include <string>
#include <vector>

#include <culvert/base/fd.hpp>

namespace culvert::test {

using X509Ptr = base::Handle<X509, X509_free>;
using KeyPtr = base::Handle<EVP_PKEY, EVP_PKEY_free>;

struct Papers {
    X509Ptr certificate;
    KeyPtr key;
};

struct Wish {
    std::vector<std::string> names = {"spiffe://cluster.local/ns/ns/sa/stranger"};  // URIs
    long from = -60, until = 3600;                                                  // seconds from now
    const char* usage = "serverAuth,clientAuth";
    long serial = 4711;
};

class Forger {
public:
    // The directory of a CA: root-cert.pem and root-key.pem.
    explicit Forger(const std::filesystem::path& directory);
    // One that makes up its own root, with the name of the real one.
    static Forger unknown();

    Papers issue(const Wish& wish = {}) const;
    // PEM of a revocation list of these serials, which is over already when `expired`.
    std::string revoke(const std::vector<long>& serials, bool expired = false) const;

private:
    Forger() = default;
    Papers root_;
};

}
