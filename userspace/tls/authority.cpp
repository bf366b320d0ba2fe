// SPDX-License-Identifier: Apache-2.0
#include <culvert/tls/authority.hpp>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include <culvert/base/log.hpp>

#include "root_files.hpp"
#include "x509_build.hpp"

namespace culvert::tls {
namespace {

using namespace std::chrono_literals;

constexpr auto backdated = 2min;  // as istiod: the peer's clock may be behind ours
constexpr auto root_lifetime = std::chrono::days{3650};
constexpr auto root_backdated = std::chrono::days{7};  // made once, for every node, whatever its clock says then
constexpr auto root_ends_soon = std::chrono::days{30};

constexpr const char* advice_replace =
    "; put a valid CA certificate and its key in place, or remove both files to have a new root made (every node needs "
    "the same root)";

base::Error file_problem(const std::string& file, const std::string& what) {
    return base::problem("CA file " + file + ": " + what);
}

base::Result<> check_root(X509& root, EVP_PKEY& key, const std::string& certificate_file, const std::string& key_file) {
    if (X509_check_ca(&root) != 1 || !(X509_get_key_usage(&root) & KU_KEY_CERT_SIGN))
        return file_problem(certificate_file, std::string{"not a CA certificate (basic constraints CA:TRUE and key "
                                                          "usage certificate sign are needed)"} +
                                                  advice_replace);
    if (X509_check_private_key(&root, &key) != 1) {
        ERR_clear_error();
        return file_problem(key_file, "this key is not the one of " + certificate_file + advice_replace);
    }
    if (!EVP_PKEY_is_a(&key, "EC") && !EVP_PKEY_is_a(&key, "RSA"))
        return file_problem(key_file, "the key is neither EC nor RSA");
    auto now = std::chrono::system_clock::now();
    auto not_before = to_system_time(X509_get0_notBefore(&root));
    auto not_after = to_system_time(X509_get0_notAfter(&root));
    if (now > not_after) return file_problem(certificate_file, "expired at " + to_text(not_after) + advice_replace);
    if (now < not_before)
        return file_problem(certificate_file,
                            "not valid before " + to_text(not_before) + "; is this node's clock right?");
    if (not_after - now < root_ends_soon)
        base::log::warn("tls", "CA file {}: the root expires at {}, and every certificate with it; replace it before",
                        certificate_file, to_text(not_after));
    return {};
}

base::Result<Certificate> self_signed(EVP_PKEY& key, const std::string& trust_domain) {
    auto now = std::chrono::system_clock::now();
    auto root = blank_certificate(key, now - root_backdated, now + root_lifetime);
    if (!root) return root.error();
    X509_NAME* name = X509_get_subject_name(root->get());
    auto* organization = reinterpret_cast<const unsigned char*>(trust_domain.data());
    bool made = X509_NAME_add_entry_by_NID(name, NID_organizationName, MBSTRING_UTF8, organization,
                                           static_cast<int>(trust_domain.size()), -1, 0) == 1 &&
                X509_set_issuer_name(root->get(), name) == 1 && add_basic_constraints(**root, true) &&
                add_key_usage(**root, {sign_certificates, sign_crls}) && add_subject_key_id(**root) &&
                sign(**root, key);
    if (!made) return openssl_problem("make a root certificate");
    return root;
}

// A key that lost its certificate is used again: certificates that it signed stay good, and no key is overwritten.
base::Result<Key> root_key(const RootFiles& files) {
    if (!files.has_key()) return make_p256_key();
    base::log::warn("tls", "CA file {} is missing: it is made again for the key in {}", files.certificate_file(),
                    files.key_file());
    auto pem = read_file(files.key_file());
    if (!pem) return pem.error();
    auto key = read_key(*pem);
    if (!key) return file_problem(files.key_file(), key.error().to_string());
    return key;
}

base::Result<> make_root(const RootFiles& files, const std::string& trust_domain) {
    auto key = root_key(files);
    if (!key) return key.error();
    auto root = self_signed(**key, trust_domain);
    if (!root) return root.error();
    auto key_pem = to_pem(**key);
    if (!key_pem) return key_pem.error();
    auto root_pem = to_pem(**root);
    if (!root_pem) return root_pem.error();
    if (!files.has_key())
        if (auto kept = files.keep_key(*key_pem); !kept) return kept;
    // Last: who sees a certificate also finds its key.
    if (auto kept = files.keep_certificate(*root_pem); !kept) return kept;
    base::log::info("tls", "made a new root for trust domain {}: {}", trust_domain, files.certificate_file());
    return {};
}

}

struct Authority::Impl {
    Certificate root;
    Key key;
    std::string root_pem;
};

Authority::Authority(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
Authority::~Authority() = default;

const std::string& Authority::root_pem() const noexcept {
    return impl_->root_pem;
}

base::Result<std::unique_ptr<Authority>> Authority::load(const std::string& certificate_file,
                                                         const std::string& key_file) {
    auto certificate_pem = read_file(certificate_file);
    if (!certificate_pem) return certificate_pem.error();
    auto key_pem = read_file(key_file);
    if (!key_pem) return key_pem.error();
    auto certificates = read_certificates(*certificate_pem);
    if (!certificates) return file_problem(certificate_file, certificates.error().to_string() + advice_replace);
    if (certificates->empty())
        return file_problem(certificate_file, std::string{"no certificate in it"} + advice_replace);
    auto key = read_key(*key_pem);
    if (!key) return file_problem(key_file, key.error().to_string() + advice_replace);

    if (others_may_read(key_file))
        base::log::warn("tls", "CA file {} can be read by others than its owner; chmod 600 it", key_file);
    auto impl = std::make_unique<Impl>();
    impl->root = std::move(certificates->front());
    impl->key = std::move(*key);
    impl->root_pem = std::move(*certificate_pem);  // with what stands behind the first: other roots to trust
    if (auto good = check_root(*impl->root, *impl->key, certificate_file, key_file); !good) return good.error();
    return std::unique_ptr<Authority>{new Authority{std::move(impl)}};
}

base::Result<std::unique_ptr<Authority>> Authority::keep(const std::string& directory,
                                                         const std::string& trust_domain) {
    RootFiles files{directory};
    if (!files.has_certificate()) {
        auto locked = files.lock();
        if (!locked) return locked.error();
        if (!files.has_certificate())  // still: another daemon may have made it while we waited
            if (auto made = make_root(files, trust_domain); !made) return made.error();
    }
    return load(files.certificate_file(), files.key_file());
}

base::Result<std::unique_ptr<Authority>> Authority::forgotten(const std::string& trust_domain) {
    auto key = make_p256_key();
    if (!key) return key.error();
    auto root = self_signed(**key, trust_domain);
    if (!root) return root.error();
    auto pem = to_pem(**root);
    if (!pem) return pem.error();
    return std::unique_ptr<Authority>{
        new Authority{std::make_unique<Impl>(Impl{std::move(*root), std::move(*key), std::move(*pem)})}};
}

base::Result<Pem> Authority::issue(const state::Identity& identity, std::chrono::seconds lifetime) const {
    auto now = std::chrono::system_clock::now();
    auto root_end = to_system_time(X509_get0_notAfter(impl_->root.get()));
    if (now >= root_end)
        return base::problem("the root expired at " + to_text(root_end) + "; put a new one in place and restart");
    auto key = make_p256_key();
    if (!key) return key.error();
    auto leaf = blank_certificate(**key, now - backdated, std::min<SystemTime>(now + lifetime, root_end));
    if (!leaf) return leaf.error();
    bool made = X509_set_issuer_name(leaf->get(), X509_get_subject_name(impl_->root.get())) == 1 &&
                add_key_usage(**leaf, {digital_signature, key_encipherment}) &&
                add_extended_usage(**leaf, {NID_server_auth, NID_client_auth}) &&
                add_basic_constraints(**leaf, false) && add_authority_key_id(**leaf, *impl_->root) &&
                add_uri_names(**leaf, {identity.to_string()}) && sign(**leaf, *impl_->key);
    if (!made) return openssl_problem("sign a certificate");

    auto chain = to_pem(**leaf);
    if (!chain) return chain.error();
    auto key_pem = to_pem(**key);
    if (!key_pem) return key_pem.error();
    return Pem{std::move(*chain), std::move(*key_pem), impl_->root_pem};
}

void Authority::issue(const state::Identity& identity, std::chrono::seconds lifetime, Issued issued) {
    issued(issue(identity, lifetime));
}

}
