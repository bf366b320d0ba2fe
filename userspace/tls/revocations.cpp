// SPDX-License-Identifier: Apache-2.0
#include <culvert/tls/revocations.hpp>

#include <openssl/err.h>
#include <openssl/pem.h>

#include <atomic>
#include <mutex>

#include "openssl.hpp"

namespace culvert::tls {
namespace {

std::mutex publishing;
std::shared_ptr<const Revocations> current;  // under the lock
std::atomic<std::uint64_t> generations{1};

bool names(const X509_CRL* list, const X509* certificate) noexcept {
    return X509_NAME_cmp(X509_CRL_get_issuer(list), X509_get_issuer_name(certificate)) == 0;
}

// The signature is looked at only where it matters: the file is ours, and who made up a list in it revokes nothing.
bool takes_back(X509_CRL* list, X509* certificate, X509* issuer) noexcept {
    X509_REVOKED* entry = nullptr;
    bool listed = X509_CRL_get0_by_cert(list, &entry, certificate) == 1;  // 2: taken back, and given again
    EVP_PKEY* key = listed ? X509_get0_pubkey(issuer) : nullptr;
    return key && X509_CRL_verify(list, key) == 1;
}

}

base::Result<std::shared_ptr<const Revocations>> Revocations::read(const std::string& bytes) {
    ERR_clear_error();
    auto made = std::make_shared<Revocations>();
    const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
    if (!bytes.empty() && bytes[0] == 0x30) {
        made->lists_.emplace_back(d2i_X509_CRL(nullptr, &at, static_cast<long>(bytes.size())));
        if (!made->lists_.back()) return openssl_problem("read revocation list");
    } else {
        for (std::size_t from = 0; (from = bytes.find("-----BEGIN X509 CRL-----", from)) != std::string::npos; ++from) {
            Bio bio{BIO_new_mem_buf(bytes.data() + from, static_cast<int>(bytes.size() - from))};
            made->lists_.emplace_back(PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr));
            if (!made->lists_.back())
                return openssl_problem("read revocation list " + std::to_string(made->lists_.size()));
        }
    }
    for (const List& list : made->lists_) {
        const STACK_OF(X509_REVOKED)* entries = X509_CRL_get_REVOKED(list.get());
        made->size_ += entries ? static_cast<std::size_t>(sk_X509_REVOKED_num(entries)) : 0;
        X509_REVOKED* unused = nullptr;  // the first look-up sorts the list
        base::Handle<ASN1_INTEGER, ASN1_INTEGER_free> zero{ASN1_INTEGER_new()};
        if (entries && zero) X509_CRL_get0_by_serial(list.get(), &unused, zero.get());
    }
    ERR_clear_error();
    return std::shared_ptr<const Revocations>{std::move(made)};
}

void Revocations::publish(std::shared_ptr<const Revocations> list) {
    std::lock_guard lock{publishing};
    current = std::move(list);
    generations.fetch_add(1, std::memory_order_release);
}

std::uint64_t Revocations::generation() noexcept {
    return generations.load(std::memory_order_acquire);
}

const Revocations* Revocations::in_force() noexcept {
    static thread_local std::shared_ptr<const Revocations> mine;
    static thread_local std::uint64_t of = 0;
    if (auto newest = generation(); newest != of) {
        std::lock_guard lock{publishing};
        mine = current;
        of = newest;
    }
    return mine.get();
}

bool Revocations::revoke(const STACK_OF(X509) * chain) const noexcept {
    int count = chain ? sk_X509_num(chain) : 0;
    for (int i = 0; i < count; ++i) {
        X509* certificate = sk_X509_value(chain, i);
        X509* issuer = sk_X509_value(chain, i + 1 < count ? i + 1 : i);
        for (const List& list : lists_)
            if (names(list.get(), certificate) && takes_back(list.get(), certificate, issuer)) return true;
    }
    ERR_clear_error();
    return false;
}

}
