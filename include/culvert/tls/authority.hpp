// SPDX-License-Identifier: Apache-2.0
// The embedded CA: signs leaf certificates for this node's identities under a root that nodes share.
#pragma once
#include <chrono>
#include <memory>
#include <string>

#include <culvert/base/result.hpp>
#include <culvert/tls/credentials.hpp>
#include <culvert/tls/issuer.hpp>

namespace culvert::tls {

class Authority final : public Issuer {
public:
    // A root somebody made: EC or RSA. Neither file is written.
    static base::Result<std::unique_ptr<Authority>> load(const std::string& certificate_file,
                                                         const std::string& key_file);
    // <directory>/root-cert.pem and root-key.pem (mode 0600), made under a lock when they are missing: of two daemons
    // that start together one makes them and the other loads them.
    static base::Result<std::unique_ptr<Authority>> keep(const std::string& directory, const std::string& trust_domain);
    // A root of its own that is in no file, and ends with the object: nobody else trusts it.
    static base::Result<std::unique_ptr<Authority>> forgotten(const std::string& trust_domain);
    ~Authority();

    // A new EC P-256 key and a certificate for it: SPIFFE URI SAN (critical, the subject is empty), client and server
    // auth, not before two minutes ago, not after now + lifetime and never after the root.
    base::Result<Pem> issue(const state::Identity& identity, std::chrono::seconds lifetime) const;
    // The same, at once.
    void issue(const state::Identity& identity, std::chrono::seconds lifetime, Issued issued) override;

    const std::string& root_pem() const noexcept;

private:
    struct Impl;
    explicit Authority(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}
