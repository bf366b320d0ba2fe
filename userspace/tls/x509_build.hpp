// SPDX-License-Identifier: Apache-2.0
// The parts of a certificate, put in as structures: no name ever passes through OpenSSL's configuration syntax.
#pragma once
#include <openssl/x509v3.h>

#include <initializer_list>
#include <string>

#include "openssl.hpp"

namespace culvert::tls {

base::Result<Key> make_p256_key();

// Version 3, a random positive 128-bit serial, the key, the times; no names and no extensions yet.
base::Result<Certificate> blank_certificate(EVP_PKEY& key, SystemTime not_before, SystemTime not_after);

using GeneralNames = base::Handle<GENERAL_NAMES, GENERAL_NAMES_free>;
GeneralNames make_uri_names(const std::vector<std::string>& uris);  // null: OpenSSL did not

// Each says whether OpenSSL did it.
bool add_basic_constraints(X509& certificate, bool is_ca);               // critical
bool add_key_usage(X509& certificate, std::initializer_list<int> bits);  // critical; bits numbered as in RFC 5280
bool add_extended_usage(X509& certificate, std::initializer_list<int> nids);
bool add_uri_names(X509& certificate, const std::vector<std::string>& uris);  // critical: the subject is empty
bool add_subject_key_id(X509& certificate);
bool add_authority_key_id(X509& certificate, const X509& issuer);  // nothing when the issuer has no id

// Bits of the key usage extension.
constexpr int digital_signature = 0;
constexpr int key_encipherment = 2;
constexpr int sign_certificates = 5;
constexpr int sign_crls = 6;

bool sign(X509& certificate, EVP_PKEY& key);  // SHA-256

}
