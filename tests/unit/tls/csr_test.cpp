// SPDX-License-Identifier: Apache-2.0
#include <culvert/tls/issuer.hpp>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <doctest/doctest.h>

#include "fixtures.hpp"

using namespace fixtures;

namespace {

using Request = culvert::base::Handle<X509_REQ, X509_REQ_free>;

Request parse(const std::string& pem) {
    tls::Bio bio{BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))};
    return Request{PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr)};
}

}

TEST_SUITE("tls") {
TEST_CASE("csr: a new P-256 key, no subject, the identity as its only name, and that critical") {
    auto csr = tls::make_csr(alice);
    REQUIRE(csr.has_value());
    auto request = parse(csr->pem);
    REQUIRE(request);
    CHECK(X509_NAME_entry_count(X509_REQ_get_subject_name(request.get())) == 0);
    CHECK(X509_REQ_get_signature_nid(request.get()) == NID_ecdsa_with_SHA256);
    EVP_PKEY* key = X509_REQ_get0_pubkey(request.get());
    CHECK(X509_REQ_verify(request.get(), key) == 1);
    char group[32];
    std::size_t length = 0;
    REQUIRE(EVP_PKEY_get_group_name(key, group, sizeof group, &length) == 1);
    CHECK(std::string{group} == "prime256v1");

    auto* extensions = X509_REQ_get_extensions(request.get());
    REQUIRE(sk_X509_EXTENSION_num(extensions) == 1);
    X509_EXTENSION* name = sk_X509_EXTENSION_value(extensions, 0);
    CHECK(OBJ_obj2nid(X509_EXTENSION_get_object(name)) == NID_subject_alt_name);
    CHECK(X509_EXTENSION_get_critical(name) == 1);
    tls::GeneralNames names{static_cast<GENERAL_NAMES*>(X509V3_EXT_d2i(name))};
    REQUIRE(sk_GENERAL_NAME_num(names.get()) == 1);
    const GENERAL_NAME* uri = sk_GENERAL_NAME_value(names.get(), 0);
    REQUIRE(uri->type == GEN_URI);
    CHECK(std::string{reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri->d.uniformResourceIdentifier))} ==
          "spiffe://cluster.local/ns/shop/sa/alice");
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);

    CHECK(csr->key.starts_with("-----BEGIN PRIVATE KEY-----"));  // PKCS #8
    CHECK(EVP_PKEY_eq(tls::read_key(csr->key)->get(), key) == 1);
    CHECK(tls::make_csr(alice)->key != csr->key);
}

TEST_CASE("csr: an answer is the leaf, what is between, and the roots at its end") {
    auto pem = tls::pem_of({"leaf\n", "middle", "roots\n"}, "key");
    REQUIRE(pem.has_value());
    CHECK(pem->chain == "leaf\nmiddle\n");
    CHECK(pem->roots == "roots\n");
    CHECK(pem->key == "key");
    CHECK(tls::pem_of({}, "key").error().to_string() == "the CA's answer has no certificate in it");
    CHECK(tls::pem_of({"leaf"}, "key").error().to_string() ==
          "the CA's answer has a certificate, but no root to trust");
}
}
