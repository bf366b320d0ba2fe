// SPDX-License-Identifier: Apache-2.0
// The directory in which a root that we made is kept. Files appear whole or not at all.
#pragma once
#include <string>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>

namespace culvert::tls {

base::Result<std::string> read_file(const std::string& path);
bool others_may_read(const std::string& path) noexcept;

class RootFiles {
public:
    explicit RootFiles(std::string directory) : directory_{std::move(directory)} {}

    std::string certificate_file() const { return directory_ + "/root-cert.pem"; }
    std::string key_file() const { return directory_ + "/root-key.pem"; }
    bool has_certificate() const noexcept;
    bool has_key() const noexcept;

    // Makes the directory (mode 0700) when it is missing, and waits at most 10 s for other daemons that use it.
    // The lock ends with the returned descriptor.
    base::Result<base::Fd> lock() const;

    // Under the lock only.
    base::Result<> keep_key(const std::string& pem) const;          // mode 0600
    base::Result<> keep_certificate(const std::string& pem) const;  // mode 0644

private:
    base::Result<> replace(const std::string& path, const std::string& text, unsigned mode) const;

    std::string directory_;
};

}
