// SPDX-License-Identifier: Apache-2.0
#include "x509_build.hpp"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

namespace culvert::tls {
namespace {

constexpr int serial_bits = 128;

bool add(X509& certificate, int nid, void* value, bool critical) {
    return X509_add1_ext_i2d(&certificate, nid, value, critical ? 1 : 0, X509V3_ADD_REPLACE) == 1;
}

bool set_serial(X509& certificate) {
    base::Handle<BIGNUM, BN_free> serial{BN_new()};
    return serial && BN_rand(serial.get(), serial_bits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
           BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(&certificate));
}

bool set_time(ASN1_TIME* field, SystemTime time) {
    return ASN1_TIME_set(field, std::chrono::system_clock::to_time_t(time)) != nullptr;
}

}

base::Result<Key> make_p256_key() {
    ERR_clear_error();
    Key key{EVP_EC_gen("P-256")};
    if (!key) return openssl_problem("make a private key");
    return key;
}

base::Result<Certificate> blank_certificate(EVP_PKEY& key, SystemTime not_before, SystemTime not_after) {
    ERR_clear_error();
    Certificate made{X509_new()};
    if (!made || X509_set_version(made.get(), X509_VERSION_3) != 1 || !set_serial(*made) ||
        !set_time(X509_getm_notBefore(made.get()), not_before) ||
        !set_time(X509_getm_notAfter(made.get()), not_after) || X509_set_pubkey(made.get(), &key) != 1)
        return openssl_problem("make a certificate");
    return made;
}

bool add_basic_constraints(X509& certificate, bool is_ca) {
    base::Handle<BASIC_CONSTRAINTS, BASIC_CONSTRAINTS_free> value{BASIC_CONSTRAINTS_new()};
    if (!value) return false;
    value->ca = is_ca ? 0xff : 0;
    return add(certificate, NID_basic_constraints, value.get(), true);
}

bool add_key_usage(X509& certificate, std::initializer_list<int> bits) {
    base::Handle<ASN1_BIT_STRING, ASN1_BIT_STRING_free> value{ASN1_BIT_STRING_new()};
    if (!value) return false;
    for (int bit : bits)
        if (ASN1_BIT_STRING_set_bit(value.get(), bit, 1) != 1) return false;
    return add(certificate, NID_key_usage, value.get(), true);
}

bool add_extended_usage(X509& certificate, std::initializer_list<int> nids) {
    base::Handle<EXTENDED_KEY_USAGE, EXTENDED_KEY_USAGE_free> value{EXTENDED_KEY_USAGE_new()};
    if (!value) return false;
    for (int nid : nids)
        if (sk_ASN1_OBJECT_push(value.get(), OBJ_nid2obj(nid)) <= 0) return false;
    return add(certificate, NID_ext_key_usage, value.get(), false);
}

GeneralNames make_uri_names(const std::vector<std::string>& uris) {
    GeneralNames names{GENERAL_NAMES_new()};
    if (!names) return nullptr;
    for (const std::string& uri : uris) {
        base::Handle<ASN1_IA5STRING, ASN1_IA5STRING_free> text{ASN1_IA5STRING_new()};
        base::Handle<GENERAL_NAME, GENERAL_NAME_free> name{GENERAL_NAME_new()};
        if (!text || !name || ASN1_STRING_set(text.get(), uri.data(), static_cast<int>(uri.size())) != 1)
            return nullptr;
        GENERAL_NAME_set0_value(name.get(), GEN_URI, text.release());
        if (sk_GENERAL_NAME_push(names.get(), name.get()) <= 0) return nullptr;
        static_cast<void>(name.release());  // the list has it now
    }
    return names;
}

bool add_uri_names(X509& certificate, const std::vector<std::string>& uris) {
    auto names = make_uri_names(uris);
    return names && add(certificate, NID_subject_alt_name, names.get(), true);
}

bool add_subject_key_id(X509& certificate) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    base::Handle<ASN1_OCTET_STRING, ASN1_OCTET_STRING_free> value{ASN1_OCTET_STRING_new()};
    return value && X509_pubkey_digest(&certificate, EVP_sha1(), digest, &size) == 1 &&
           ASN1_OCTET_STRING_set(value.get(), digest, static_cast<int>(size)) == 1 &&
           add(certificate, NID_subject_key_identifier, value.get(), false);
}

bool add_authority_key_id(X509& certificate, const X509& issuer) {
    // OpenSSL caches what it finds in the certificate, hence its missing const.
    const ASN1_OCTET_STRING* id = X509_get0_subject_key_id(const_cast<X509*>(&issuer));
    if (!id) return true;
    base::Handle<AUTHORITY_KEYID, AUTHORITY_KEYID_free> value{AUTHORITY_KEYID_new()};
    if (!value) return false;
    value->keyid = ASN1_OCTET_STRING_dup(id);
    return value->keyid && add(certificate, NID_authority_key_identifier, value.get(), false);
}

bool sign(X509& certificate, EVP_PKEY& key) {
    return X509_sign(&certificate, &key, EVP_sha256()) > 0;
}

}
