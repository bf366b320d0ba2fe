// SPDX-License-Identifier: Apache-2.0
// What every file of this folder needs of OpenSSL: owners, its words for what went wrong, PEM, names and times.
#pragma once
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <string>
#include <vector>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>
#include <culvert/tls/credentials.hpp>

namespace culvert::tls {

using Bio = base::Handle<BIO, BIO_free_all>;
using Certificate = base::Handle<X509, X509_free>;
using Key = base::Handle<EVP_PKEY, EVP_PKEY_free>;
using Ssl = base::Handle<SSL, SSL_free>;

// Takes OpenSSL's error queue of this thread: the reason of the oldest entry, which is the cause of the others.
// Empty when the queue was.
std::string take_openssl_reason();
// "<doing>: <reason>"
base::Error openssl_problem(const std::string& doing);

// All certificates of a PEM text, in order. Fails at the first one that cannot be read.
base::Result<std::vector<Certificate>> read_certificates(const std::string& pem);
// Those that can be read: one bad root in a bundle must not cut the others off. The rest is logged.
std::vector<Certificate> read_certificates_leniently(const std::string& pem);
// Never asks a terminal for a passphrase: an encrypted key is an error.
base::Result<Key> read_key(const std::string& pem);

base::Result<std::string> to_pem(X509& certificate);
base::Result<std::string> to_pem(X509_REQ& request);
base::Result<std::string> to_pem(EVP_PKEY& key);  // PKCS #8

// The URI subject alternative names, in the certificate's order.
std::vector<std::string> uri_names(const X509& certificate);

std::string decimal(const ASN1_INTEGER* serial);

std::chrono::sys_seconds to_seconds(const ASN1_TIME* time) noexcept;
SystemTime to_system_time(const ASN1_TIME* time) noexcept;  // 2262 is its last year
std::string to_text(SystemTime time);                       // "2026-01-02 03:04:05 UTC"

}
