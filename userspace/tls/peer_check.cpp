// SPDX-License-Identifier: Apache-2.0
#include "peer_check.hpp"

#include <openssl/x509.h>

#include <algorithm>
#include <string_view>

#include <culvert/base/shortage.hpp>
#include <culvert/tls/revocations.hpp>

#include "openssl.hpp"

namespace culvert::tls {
namespace {

constexpr std::size_t most_names_in_a_text = 8;  // a certificate may hold thousands

std::string list(const std::vector<std::string>& names) {
    std::string text;
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (i > 0) text += ',';
        if (i == most_names_in_a_text) return text + "...";
        text += names[i];
    }
    return text;
}

bool speaks_h2(const SSL* ssl) noexcept {
    const unsigned char* name = nullptr;
    unsigned int size = 0;
    SSL_get0_alpn_selected(ssl, &name, &size);
    return std::string_view{reinterpret_cast<const char*>(name), size} == "h2";
}

// The texts are ztunnel's: people and tools search logs for them.
bool name_is_right(PeerCheck& check, const std::vector<std::string>& names) {
    if (check.peer_is_server) {
        auto expected = [&](const std::string& name) {
            return std::find(check.accepted.begin(), check.accepted.end(), name) != check.accepted.end();
        };
        if (std::any_of(names.begin(), names.end(), expected)) return true;
        check.refusal = "identity verification error: peer did not present the expected SAN (" + list(check.accepted) +
                        "), got " + list(names);
        return false;
    }
    if (!check.trust_domain) return true;
    auto ours = [&](const std::string& name) {
        auto identity = state::Identity::parse(name);
        return identity && identity->trust_domain == *check.trust_domain;
    };
    if (std::any_of(names.begin(), names.end(), ours)) return true;
    check.refusal = "identity verification error: peer did not present the expected trustdomain (" +
                    *check.trust_domain + "), got " + list(names);
    return false;
}

}

namespace {

int check_peer(X509_STORE_CTX* chain) {
    auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx()));
    auto* check = static_cast<PeerCheck*>(SSL_get_app_data(ssl));
    if (!check) return 0;
    if (X509_verify_cert(chain) != 1) return 0;
    const Revocations* revocations = Revocations::in_force();
    if (revocations && revocations->revoke(X509_STORE_CTX_get0_chain(chain))) {
        X509_STORE_CTX_set_error(chain, X509_V_ERR_CERT_REVOKED);
        return 0;
    }

    // Here rather than after the handshake, so that the peer gets an alert instead of a silent close.
    if (!speaks_h2(ssl)) {
        check->refusal = "tls handshake error: peer did not agree on h2 (ALPN)";
        X509_STORE_CTX_set_error(chain, X509_V_ERR_APPLICATION_VERIFICATION);  // sent as handshake_failure
        return 0;
    }
    auto names = uri_names(*X509_STORE_CTX_get0_cert(chain));
    if (!name_is_right(*check, names)) {
        X509_STORE_CTX_set_error(chain, X509_V_ERR_HOSTNAME_MISMATCH);  // sent as bad_certificate
        return 0;
    }
    for (const std::string& name : names) {
        check->peer = state::Identity::parse(name);
        if (check->peer) break;
    }
    return 1;
}

}

int verify_peer(X509_STORE_CTX* chain, void*) noexcept {
    int verdict = 0;
    base::shortage::guard(
        "a handshake", [&] { verdict = check_peer(chain); },
        [&] { X509_STORE_CTX_set_error(chain, X509_V_ERR_OUT_OF_MEM); });
    return verdict;
}

void count_messages(const SSL* ssl, int where, int) noexcept {
    auto* check = static_cast<PeerCheck*>(SSL_get_app_data(ssl));
    if (!(where & SSL_CB_LOOP) || !check || !check->input) return;
    if (++check->messages > PeerCheck::most_messages) *check->input = {};
}

}
