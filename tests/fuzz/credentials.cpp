// SPDX-License-Identifier: Apache-2.0
#include "credentials.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <culvert/tls/authority.hpp>

#include "require.hpp"

namespace fuzz {
namespace {

using namespace culvert;

struct Kept {
    std::unique_ptr<tls::Authority> authority;
    Root root;
};

std::string contents(const std::string& file) {
    std::ostringstream text;
    text << std::ifstream{file}.rdbuf();
    return text.str();
}

const Kept& kept() {
    static const Kept made = [] {
        char folder[] = "/tmp/culvert-fuzz-XXXXXX";
        require(::mkdtemp(folder) != nullptr, "there is room for a CA in /tmp");
        auto authority = tls::Authority::keep(folder, "cluster.local");
        Root root{contents(std::string{folder} + "/root-cert.pem"), contents(std::string{folder} + "/root-key.pem")};
        std::filesystem::remove_all(folder);
        require(authority.has_value(), "a CA can be made");
        return Kept{std::move(*authority), std::move(root)};
    }();
    return made;
}

}

const Root& root() {
    return kept().root;
}

std::string spiffe(const std::string& service_account) {
    return "spiffe://cluster.local/ns/test/sa/" + service_account;
}

tls::CredentialsPtr credentials(const std::string& service_account) {
    auto identity = state::Identity::parse(spiffe(service_account));
    auto pem = kept().authority->issue(*identity, std::chrono::hours{24});
    require(pem.has_value(), "a certificate can be issued");
    auto made = tls::make_credentials(*identity, *pem);
    require(made.has_value(), "a certificate can be used");
    return *made;
}

}
