// SPDX-License-Identifier: Apache-2.0
#include "openssl.hpp"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>
#include <string_view>

#include <culvert/base/log.hpp>
#include <culvert/base/shortage.hpp>

namespace culvert::tls {
namespace {

using GeneralNames = base::Handle<GENERAL_NAMES, GENERAL_NAMES_free>;

Bio borrow(const std::string& text) {
    return Bio{BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))};
}

std::string contents(BIO* bio) {
    char* data = nullptr;
    long size = BIO_get_mem_data(bio, &data);
    return {data, static_cast<std::size_t>(size)};
}

// One PEM block, freed with it.
struct Block {
    char* name = nullptr;
    char* header = nullptr;
    unsigned char* data = nullptr;
    long size = 0;

    Block() = default;
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    ~Block() {
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(data);
    }
};

bool at_the_end() noexcept {
    return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
}

Certificate decode(const Block& block) {
    const unsigned char* at = block.data;
    return Certificate{d2i_X509(nullptr, &at, block.size)};
}

int no_passphrase(char*, int, int, void*) noexcept {
    return -1;
}

}

std::string take_openssl_reason() {
    unsigned long code = ERR_get_error();
    ERR_clear_error();
    if (code == 0) return {};
    if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE) base::shortage::note("what OpenSSL was doing");
    if (const char* text = ERR_reason_error_string(code)) return text;
    return "OpenSSL error " + std::to_string(code);
}

base::Error openssl_problem(const std::string& doing) {
    std::string reason = take_openssl_reason();
    return base::problem(reason.empty() ? doing : doing + ": " + reason);
}

base::Result<std::vector<Certificate>> read_certificates(const std::string& pem) {
    ERR_clear_error();
    std::vector<Certificate> found;
    for (Bio bio = borrow(pem);;) {
        Block block;
        if (PEM_read_bio(bio.get(), &block.name, &block.header, &block.data, &block.size) != 1) {
            if (!at_the_end()) return openssl_problem("read certificate " + std::to_string(found.size() + 1));
            ERR_clear_error();
            return found;
        }
        if (std::string_view{block.name} != PEM_STRING_X509) continue;
        Certificate certificate = decode(block);
        if (!certificate) return openssl_problem("read certificate " + std::to_string(found.size() + 1));
        found.push_back(std::move(certificate));
    }
}

std::vector<Certificate> read_certificates_leniently(const std::string& pem) {
    ERR_clear_error();
    std::vector<Certificate> found;
    for (Bio bio = borrow(pem);;) {
        Block block;
        bool complete = PEM_read_bio(bio.get(), &block.name, &block.header, &block.data, &block.size) == 1;
        if (!complete && at_the_end()) break;
        if (complete && std::string_view{block.name} != PEM_STRING_X509) continue;
        Certificate certificate = complete ? decode(block) : Certificate{};
        if (certificate)
            found.push_back(std::move(certificate));
        else
            base::log::warn("tls", "one root certificate of the bundle is left out, it cannot be read: {}",
                            take_openssl_reason());
        ERR_clear_error();
    }
    ERR_clear_error();
    return found;
}

base::Result<Key> read_key(const std::string& pem) {
    ERR_clear_error();
    Bio bio = borrow(pem);
    Key key{PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr)};
    if (!key) return openssl_problem("read private key");
    ERR_clear_error();
    return key;
}

base::Result<std::string> to_pem(X509& certificate) {
    Bio bio{BIO_new(BIO_s_mem())};
    if (!bio || PEM_write_bio_X509(bio.get(), &certificate) != 1) return openssl_problem("write certificate");
    return contents(bio.get());
}

base::Result<std::string> to_pem(X509_REQ& request) {
    Bio bio{BIO_new(BIO_s_mem())};
    if (!bio || PEM_write_bio_X509_REQ(bio.get(), &request) != 1) return openssl_problem("write certificate request");
    return contents(bio.get());
}

base::Result<std::string> to_pem(EVP_PKEY& key) {
    Bio bio{BIO_new(BIO_s_secmem())};
    if (!bio || PEM_write_bio_PrivateKey(bio.get(), &key, nullptr, nullptr, 0, nullptr, nullptr) != 1)
        return openssl_problem("write private key");
    return contents(bio.get());
}

std::vector<std::string> uri_names(const X509& certificate) {
    std::vector<std::string> found;
    GeneralNames names{
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr))};
    if (!names) return found;
    for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
        const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
        if (name->type != GEN_URI) continue;
        const ASN1_IA5STRING* uri = name->d.uniformResourceIdentifier;
        // With its length: a NUL inside must not make it equal to a shorter name.
        found.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
                           static_cast<std::size_t>(ASN1_STRING_length(uri)));
    }
    return found;
}

std::string decimal(const ASN1_INTEGER* serial) {
    base::Handle<BIGNUM, BN_free> number{ASN1_INTEGER_to_BN(serial, nullptr)};
    char* text = number ? BN_bn2dec(number.get()) : nullptr;
    std::string result = text ? text : "";
    OPENSSL_free(text);
    return result;
}

std::chrono::sys_seconds to_seconds(const ASN1_TIME* time) noexcept {
    std::tm utc{};
    if (ASN1_TIME_to_tm(time, &utc) != 1) return {};
    return std::chrono::sys_seconds{std::chrono::seconds{::timegm(&utc)}};
}

SystemTime to_system_time(const ASN1_TIME* time) noexcept {
    constexpr auto last = std::chrono::time_point_cast<std::chrono::seconds>(SystemTime::max());
    return std::min(to_seconds(time), last);
}

std::string to_text(SystemTime time) {
    std::time_t seconds = std::chrono::system_clock::to_time_t(time);
    std::tm utc{};
    ::gmtime_r(&seconds, &utc);
    char text[40];
    return {text, std::strftime(text, sizeof text, "%F %T UTC", &utc)};
}

}
