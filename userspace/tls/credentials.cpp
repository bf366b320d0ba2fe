// SPDX-License-Identifier: Apache-2.0
#include <culvert/tls/credentials.hpp>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <vector>

#include "openssl.hpp"
#include "peer_check.hpp"

namespace culvert::tls {
namespace {

using Store = base::Handle<X509_STORE, X509_STORE_free>;

// Length, then the name; both sides speak nothing else.
constexpr unsigned char only_h2[] = {2, 'h', '2'};

// Of a peer's certificates, in bytes and in steps to a root.
constexpr long largest_chain = 64 * 1024;
constexpr int deepest_chain = 8;

struct Chain {
    Certificate leaf;
    std::vector<Certificate> intermediates;
    Key key;
    Store roots;
};

int choose_h2(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* offered,
              unsigned int offered_size, void*) noexcept {
    unsigned char* chosen = nullptr;
    if (SSL_select_next_proto(&chosen, out_size, only_h2, sizeof only_h2, offered, offered_size) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

// X25519 first: it is the share a client sends. The hybrid is there for who insists (3.5 and newer know it).
bool set_groups(SSL_CTX* ctx) noexcept {
    if (SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384:X25519MLKEM768") == 1) return true;
    ERR_clear_error();
    return SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") == 1;
}

bool set_protocol(SSL_CTX* ctx) noexcept {
    SSL_CTX_set_security_level(ctx, 2);  // whatever openssl.cnf says
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    // Without NO_AUTO_CHAIN every handshake would search for more certificates to send.
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    // Into OpenSSL's own 17 KiB. A larger default_read_buffer_len was measured and is slower to open on 3.0 and 3.5 (64
    // KiB: -8 % on 16 KiB records, -40 % on 1000 bytes): a read costs us a memcpy, what is left over a memmove.
    SSL_CTX_set_read_ahead(ctx, 1);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384") == 1 && set_groups(ctx) &&
           SSL_CTX_set_num_tickets(ctx, 0) == 1 &&
           SSL_CTX_set_alpn_protos(ctx, only_h2, sizeof only_h2) == 0;  // 0 is success here
}

bool set_identity(SSL_CTX* ctx, const Chain& chain) noexcept {
    if (SSL_CTX_use_certificate(ctx, chain.leaf.get()) != 1) return false;
    if (SSL_CTX_use_PrivateKey(ctx, chain.key.get()) != 1) return false;
    if (SSL_CTX_check_private_key(ctx) != 1) return false;
    for (const Certificate& certificate : chain.intermediates)
        if (SSL_CTX_add1_chain_cert(ctx, certificate.get()) != 1) return false;
    return SSL_CTX_set1_verify_cert_store(ctx, chain.roots.get()) == 1;
}

base::Result<SslCtx> make_context(const SSL_METHOD* method, const Chain& chain) {
    SslCtx ctx{SSL_CTX_new(method)};
    if (!ctx || !set_protocol(ctx.get()) || !set_identity(ctx.get(), chain)) return openssl_problem("set up tls");
    SSL_CTX_set_verify(ctx.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    SSL_CTX_set_cert_verify_callback(ctx.get(), verify_peer, nullptr);
    SSL_CTX_set_info_callback(ctx.get(), count_messages);
    SSL_CTX_set_max_cert_list(ctx.get(), largest_chain);
    SSL_CTX_set_verify_depth(ctx.get(), deepest_chain);
    SSL_CTX_set_alpn_select_cb(ctx.get(), choose_h2, nullptr);
    return ctx;
}

bool signs_itself(X509* certificate) noexcept {
    return X509_get_extension_flags(certificate) & EXFLAG_SS;
}

base::Result<Store> trust(const std::string& pem) {
    Store store{X509_STORE_new()};
    if (!store) return openssl_problem("read roots");
    auto roots = read_certificates_leniently(pem);
    if (roots.empty()) return base::problem("read roots: there is no certificate that can be read");
    for (const Certificate& root : roots) {
        // Else the first handshakes would read its extensions, in several workers at once.
        X509_check_purpose(root.get(), -1, 0);
        if (X509_STORE_add_cert(store.get(), root.get()) != 1) return openssl_problem("read roots");
    }
    // Like ztunnel's: what is in the bundle is trusted, also when it is not self-signed.
    X509_STORE_set_flags(store.get(), X509_V_FLAG_PARTIAL_CHAIN);
    return store;
}

base::Result<Chain> read_chain(const Pem& pem) {
    auto certificates = read_certificates(pem.chain);
    if (!certificates) return certificates.error();
    if (certificates->empty()) return base::problem("read certificate chain: there is no certificate in it");
    auto key = read_key(pem.key);
    if (!key) return key.error();
    auto roots = trust(pem.roots);
    if (!roots) return roots.error();

    Chain chain;
    chain.leaf = std::move(certificates->front());
    chain.key = std::move(*key);
    chain.roots = std::move(*roots);
    if (X509_check_private_key(chain.leaf.get(), chain.key.get()) != 1)
        return openssl_problem("the private key does not belong to the certificate");
    // istiod puts its root at the end of the chain; peers have it, so it is not sent.
    for (std::size_t i = 1; i < certificates->size(); ++i)
        if (!signs_itself((*certificates)[i].get())) chain.intermediates.push_back(std::move((*certificates)[i]));
    return chain;
}

}

base::Result<CredentialsPtr> make_credentials(const state::Identity& identity, const Pem& pem) {
    auto chain = read_chain(pem);
    if (!chain) return chain.error();
    auto made = std::make_shared<Credentials>();
    made->identity = identity;
    for (const std::string& name : uri_names(*chain->leaf)) {
        made->certified = state::Identity::parse(name);
        if (made->certified) break;
    }
    if (made->certified && *made->certified != identity)
        return base::problem("the certificate is for " + made->certified->to_string() + ", it was asked for " +
                             identity.to_string());

    auto client = make_context(TLS_client_method(), *chain);
    if (!client) return client.error();
    auto server = make_context(TLS_server_method(), *chain);
    if (!server) return server.error();
    made->client = std::move(*client);
    made->server = std::move(*server);
    made->not_before = to_system_time(X509_get0_notBefore(chain->leaf.get()));
    made->not_after = to_system_time(X509_get0_notAfter(chain->leaf.get()));
    made->serial = decimal(X509_get0_serialNumber(chain->leaf.get()));
    return CredentialsPtr{std::move(made)};
}

}
