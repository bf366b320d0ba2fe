// SPDX-License-Identifier: Apache-2.0
// One CA for the whole run, and certificates of it.
#pragma once
#include <string>

#include <culvert/tls/credentials.hpp>

namespace fuzz {

struct Root {
    std::string certificate, key;  // PEM
};
const Root& root();
std::string spiffe(const std::string& service_account);  // spiffe://cluster.local/ns/test/sa/<name>
culvert::tls::CredentialsPtr credentials(const std::string& service_account);

}
