// SPDX-License-Identifier: Apache-2.0
#include "forger.hpp"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <stdexcept>

namespace culvert::test {
namespace {

using File = base::Handle<FILE, std::fclose>;
using Bio = base::Handle<BIO, BIO_free_all>;

void must(bool done, const char* doing) {
    if (done) return;
    char reason[256];
    ERR_error_string_n(ERR_get_error(), reason, sizeof reason);
    throw std::runtime_error(std::string{doing} + ": " + reason);
}

KeyPtr new_key() {
    KeyPtr key{EVP_EC_gen("P-256")};
    must(bool(key), "make a key");
    return key;
}

void extend(X509& certificate, int nid, const std::string& value) {
    base::Handle<X509_EXTENSION, X509_EXTENSION_free> extension{
        X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str())};
    must(extension && X509_add_ext(&certificate, extension.get(), -1) == 1, "extend a certificate");
}

X509Ptr blank(EVP_PKEY& key, const Wish& wish) {
    X509Ptr made{X509_new()};
    must(X509_set_version(made.get(), X509_VERSION_3) == 1, "version");
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), wish.serial);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), wish.from);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), wish.until);
    must(X509_set_pubkey(made.get(), &key) == 1, "public key");
    return made;
}

}

Forger::Forger(const std::filesystem::path& directory) {
    File certificate{std::fopen((directory / "root-cert.pem").c_str(), "r")};
    File key{std::fopen((directory / "root-key.pem").c_str(), "r")};
    if (!certificate || !key) throw std::runtime_error("no CA in " + directory.string());
    root_.certificate.reset(PEM_read_X509(certificate.get(), nullptr, nullptr, nullptr));
    root_.key.reset(PEM_read_PrivateKey(key.get(), nullptr, nullptr, nullptr));
    must(root_.certificate && root_.key, "read the CA");
}

Forger Forger::unknown() {
    Forger made;
    made.root_.key = new_key();
    made.root_.certificate = blank(*made.root_.key, {});
    X509_NAME* name = X509_get_subject_name(made.root_.certificate.get());
    X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("cluster.local"), -1, -1,
                               0);
    X509_set_issuer_name(made.root_.certificate.get(), name);
    extend(*made.root_.certificate, NID_basic_constraints, "critical,CA:TRUE");
    must(X509_sign(made.root_.certificate.get(), made.root_.key.get(), EVP_sha256()) > 0, "sign a root");
    return made;
}

Papers Forger::issue(const Wish& wish) const {
    Papers papers;
    papers.key = new_key();
    papers.certificate = blank(*papers.key, wish);
    X509& made = *papers.certificate;
    X509_set_issuer_name(&made, X509_get_subject_name(root_.certificate.get()));
    extend(made, NID_basic_constraints, "critical,CA:FALSE");
    extend(made, NID_key_usage, "critical,digitalSignature,keyEncipherment");
    if (*wish.usage) extend(made, NID_ext_key_usage, wish.usage);
    std::string names;
    for (const std::string& name : wish.names) names += (names.empty() ? "critical,URI:" : ",URI:") + name;
    if (!names.empty()) extend(made, NID_subject_alt_name, names);
    must(X509_sign(&made, root_.key.get(), EVP_sha256()) > 0, "sign a certificate");
    return papers;
}

std::string Forger::revoke(const std::vector<long>& serials, bool expired) const {
    base::Handle<X509_CRL, X509_CRL_free> list{X509_CRL_new()};
    X509_CRL_set_version(list.get(), X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(root_.certificate.get()));
    base::Handle<ASN1_TIME, ASN1_TIME_free> last{ASN1_TIME_adj(nullptr, std::time(nullptr), 0, -7200)};
    base::Handle<ASN1_TIME, ASN1_TIME_free> next{ASN1_TIME_adj(nullptr, std::time(nullptr), 0, expired ? -3600 : 3600)};
    X509_CRL_set1_lastUpdate(list.get(), last.get());
    X509_CRL_set1_nextUpdate(list.get(), next.get());
    for (long serial : serials) {
        base::Handle<X509_REVOKED, X509_REVOKED_free> entry{X509_REVOKED_new()};
        base::Handle<ASN1_INTEGER, ASN1_INTEGER_free> number{ASN1_INTEGER_new()};
        ASN1_INTEGER_set(number.get(), serial);
        X509_REVOKED_set_serialNumber(entry.get(), number.get());
        X509_REVOKED_set_revocationDate(entry.get(), last.get());
        must(X509_CRL_add0_revoked(list.get(), entry.release()) == 1, "revoke");
    }
    must(X509_CRL_sort(list.get()) == 1 && X509_CRL_sign(list.get(), root_.key.get(), EVP_sha256()) > 0, "sign a list");
    Bio text{BIO_new(BIO_s_mem())};
    must(PEM_write_bio_X509_CRL(text.get(), list.get()) == 1, "write a list");
    char* data = nullptr;
    long size = BIO_get_mem_data(text.get(), &data);
    return {data, static_cast<std::size_t>(size)};
}

}
