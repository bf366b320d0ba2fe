// SPDX-License-Identifier: Apache-2.0
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <culvert/tls/issuer.hpp>

#include "x509_build.hpp"

namespace culvert::tls {
namespace {

using Request = base::Handle<X509_REQ, X509_REQ_free>;

void free_extensions(STACK_OF(X509_EXTENSION) * all) noexcept {
    sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
}
using Extensions = base::Handle<STACK_OF(X509_EXTENSION), free_extensions>;

bool ask_for_uri_name(X509_REQ& request, const std::string& uri) {
    auto names = make_uri_names({uri});
    if (!names) return false;
    // The subject is empty: then the name that counts must be critical (RFC 5280 section 4.2.1.6).
    STACK_OF(X509_EXTENSION)* list = nullptr;
    bool added = X509V3_add1_i2d(&list, NID_subject_alt_name, names.get(), 1, X509V3_ADD_DEFAULT) == 1;
    Extensions owned{list};
    return added && X509_REQ_add_extensions(&request, list) == 1;
}

}

base::Result<Csr> make_csr(const state::Identity& identity) {
    auto key = make_p256_key();
    if (!key) return key.error();
    Request request{X509_REQ_new()};
    bool made =
        request && X509_REQ_set_version(request.get(), 0) == 1 && X509_REQ_set_pubkey(request.get(), key->get()) == 1 &&
        ask_for_uri_name(*request, identity.to_string()) && X509_REQ_sign(request.get(), key->get(), EVP_sha256()) > 0;
    if (!made) return openssl_problem("make a certificate request");
    auto pem = to_pem(*request);
    if (!pem) return pem.error();
    auto key_pem = to_pem(**key);
    if (!key_pem) return key_pem.error();
    return Csr{std::move(*pem), std::move(*key_pem)};
}

base::Result<Pem> pem_of(std::vector<std::string> chain, std::string key) {
    if (chain.empty()) return base::problem("the CA's answer has no certificate in it");
    if (chain.size() == 1) return base::problem("the CA's answer has a certificate, but no root to trust");
    Pem pem{.chain = {}, .key = std::move(key), .roots = std::move(chain.back())};
    chain.pop_back();
    for (const std::string& part : chain) {
        pem.chain += part;
        if (!part.ends_with('\n')) pem.chain += '\n';
    }
    return pem;
}

}
