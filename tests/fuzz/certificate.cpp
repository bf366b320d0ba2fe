// SPDX-License-Identifier: Apache-2.0
// Whether a peer is who it must be. The certificate is the fuzzer's, but signed by a CA of the mesh: that is what
// stands between a name and a stranger. A second opinion, made of the names alone, must agree with what is let in.
#include <tls/peer_check.hpp>
#include <tls/x509_build.hpp>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "credentials.hpp"
#include "require.hpp"

using namespace culvert;
using fuzz::require;

namespace {

using Store = base::Handle<X509_STORE, X509_STORE_free>;
using Context = base::Handle<X509_STORE_CTX, X509_STORE_CTX_free>;

// A connection that has agreed on h2, as one has when the peer's certificate comes: a finished one, kept.
struct World {
    tls::Certificate root = std::move(tls::read_certificates(fuzz::root().certificate)->front());
    tls::Key key = *tls::read_key(fuzz::root().key);
    Store store{X509_STORE_new()};
    tls::CredentialsPtr own = fuzz::credentials("server");
    tls::Ssl client{SSL_new(own->client.get())}, server{SSL_new(own->server.get())};
    tls::PeerCheck as_client{
        .peer_is_server = true, .accepted = {fuzz::spiffe("server")}, .trust_domain = {}, .peer = {}, .refusal = {}};
    tls::PeerCheck as_server{
        .peer_is_server = false, .accepted = {}, .trust_domain = "cluster.local", .peer = {}, .refusal = {}};

    World() {
        X509_STORE_add_cert(store.get(), root.get());
        BIO *one = nullptr, *other = nullptr;
        BIO_new_bio_pair(&one, 0, &other, 0);
        SSL_set_bio(client.get(), one, one);
        SSL_set_bio(server.get(), other, other);
        SSL_set_connect_state(client.get());
        SSL_set_accept_state(server.get());
        SSL_set_app_data(client.get(), &as_client);
        SSL_set_app_data(server.get(), &as_server);
        for (int i = 0; i < 8; ++i) {
            SSL_do_handshake(client.get());
            SSL_do_handshake(server.get());
        }
        require(SSL_is_init_finished(server.get()) && SSL_is_init_finished(client.get()), "two good ends agree");
    }
};

// trust domain of spiffe://<trust domain>/ns/<namespace>/sa/<service account>, if it is one.
std::optional<std::string> second_opinion(const std::string& name) {
    const std::string scheme = "spiffe://";
    if (name.compare(0, scheme.size(), scheme) != 0) return std::nullopt;
    std::vector<std::string> parts{""};
    for (char c : name.substr(scheme.size())) {
        if (c == '/')
            parts.emplace_back();
        else
            parts.back() += c;
    }
    if (parts.size() != 5 || parts[1] != "ns" || parts[3] != "sa") return std::nullopt;
    return parts[0];
}

std::vector<std::string> names_of(X509* certificate) {
    std::vector<std::string> names;
    base::Handle<GENERAL_NAMES, GENERAL_NAMES_free> all{
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr))};
    for (int i = 0; all && i < sk_GENERAL_NAME_num(all.get()); ++i) {
        int type = 0;
        auto* value = static_cast<ASN1_STRING*>(GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(all.get(), i), &type));
        if (type != GEN_URI) continue;
        auto* bytes = reinterpret_cast<const char*>(ASN1_STRING_get0_data(value));
        names.emplace_back(bytes, static_cast<std::size_t>(ASN1_STRING_length(value)));
    }
    return names;
}

void check(World& world, X509* certificate, SSL* ssl, tls::PeerCheck check) {
    check.peer.reset();  // of the handshake
    auto names = names_of(certificate);
    bool right = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
        return check.peer_is_server ? name == fuzz::spiffe("server") : second_opinion(name) == "cluster.local";
    });
    Context context{X509_STORE_CTX_new()};
    X509_STORE_CTX_init(context.get(), world.store.get(), certificate, nullptr);
    X509_STORE_CTX_set_default(context.get(), check.peer_is_server ? "ssl_server" : "ssl_client");
    X509_STORE_CTX_set_ex_data(context.get(), SSL_get_ex_data_X509_STORE_CTX_idx(), ssl);
    SSL_set_app_data(ssl, &check);
    bool accepted = tls::verify_peer(context.get(), nullptr) == 1;
    SSL_set_app_data(ssl, nullptr);
    ERR_clear_error();
    require(!accepted || right, "who is let in has the right name");
    require(accepted || !check.peer, "who is refused has no identity");
    require(accepted || X509_STORE_CTX_get_error(context.get()) != X509_V_OK, "a refusal has a reason");
    if (!check.peer) return;
    require(std::find(names.begin(), names.end(), check.peer->to_string()) != names.end(),
            "the identity is a name of it");
}

}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static World world;
    const unsigned char* at = data;
    tls::Certificate certificate{d2i_X509(nullptr, &at, static_cast<long>(size))};
    ERR_clear_error();
    (void)tls::read_certificates({reinterpret_cast<const char*>(data), size}).has_value();
    if (!certificate) return 0;
    bool signed_well = X509_set_issuer_name(certificate.get(), X509_get_subject_name(world.root.get())) == 1 &&
                       tls::sign(*certificate, *world.key);
    ERR_clear_error();
    if (!signed_well) return 0;
    // What goes over the wire is bytes: the peer's structure is made of them anew.
    unsigned char* der = nullptr;
    int length = i2d_X509(certificate.get(), &der);
    const unsigned char* again = der;
    tls::Certificate sent{length > 0 ? d2i_X509(nullptr, &again, length) : nullptr};
    OPENSSL_free(der);
    ERR_clear_error();
    if (!sent) return 0;
    check(world, sent.get(), world.client.get(), world.as_client);
    check(world, sent.get(), world.server.get(), world.as_server);
    return 0;
}
