// SPDX-License-Identifier: Apache-2.0
#include "fixtures.hpp"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <cstdlib>
#include <filesystem>
#include <random>

namespace fixtures {
namespace {

using namespace std::chrono_literals;

void name(X509& certificate, const std::string& text) {
    X509_NAME_add_entry_by_NID(X509_get_subject_name(&certificate), NID_organizationName, MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()), -1,
                               0);
}

tls::Certificate ca_certificate(EVP_PKEY& key, const std::string& text) {
    auto now = std::chrono::system_clock::now();
    auto made = *tls::blank_certificate(key, now - 1h, now + 1000h);
    name(*made, text);
    tls::add_basic_constraints(*made, true);
    tls::add_key_usage(*made, {tls::sign_certificates});
    tls::add_subject_key_id(*made);
    return made;
}

}

Folder::Folder() {
    char name[] = "/tmp/culvert-tls-XXXXXX";
    path = ::mkdtemp(name);
}
Folder::~Folder() {
    std::filesystem::remove_all(path);
}

Issuer Issuer::root(const std::string& name, tls::Key key) {
    auto made = ca_certificate(*key, name);
    X509_set_issuer_name(made.get(), X509_get_subject_name(made.get()));
    tls::sign(*made, *key);
    return {std::move(made), std::move(key)};
}

Issuer Issuer::rsa_root(const std::string& name) {
    return root(name, tls::Key{EVP_RSA_gen(2048)});
}

Issuer Issuer::intermediate(const std::string& name, tls::Key own) const {
    auto made = ca_certificate(*own, name);
    X509_set_issuer_name(made.get(), X509_get_subject_name(certificate.get()));
    tls::add_authority_key_id(*made, *certificate);
    tls::sign(*made, *key);
    return {std::move(made), std::move(own)};
}

tls::Pem leaf(const Issuer& issuer, const Wanted& wanted) {
    auto now = std::chrono::system_clock::now();
    auto key = *tls::make_p256_key();
    auto made = *tls::blank_certificate(*key, now + wanted.from, now + wanted.until);
    X509_set_issuer_name(made.get(), X509_get_subject_name(issuer.certificate.get()));
    tls::add_basic_constraints(*made, false);
    tls::add_key_usage(*made, {tls::digital_signature, tls::key_encipherment});
    for (int usage : wanted.usages) tls::add_extended_usage(*made, {usage});
    if (wanted.usages.size() == 2) tls::add_extended_usage(*made, {wanted.usages[0], wanted.usages[1]});
    if (!wanted.uris.empty()) tls::add_uri_names(*made, wanted.uris);
    tls::add_authority_key_id(*made, *issuer.certificate);
    tls::sign(*made, *issuer.key);
    return {*tls::to_pem(*made), *tls::to_pem(*key), issuer.pem()};
}

tls::CredentialsPtr credentials(const tls::Pem& pem, const Identity& identity) {
    auto made = tls::make_credentials(identity, pem);
    if (!made) throw std::runtime_error{made.error().to_string()};
    return *made;
}

tls::CredentialsPtr good(const Issuer& issuer, const Identity& identity) {
    return credentials(leaf(issuer, {.uris = {identity.to_string()}}), identity);
}

Pair::Pair(tls::Channel c, tls::Channel s) : client{std::move(c)}, server{std::move(s)} {}

void Pair::shake(std::size_t piece) {
    client.write_to(to_server);
    server.write_to(to_client);
    auto step = [](tls::Channel& channel, bool& done, std::string& error) {
        if (done || !error.empty()) return;
        auto result = channel.handshake();
        if (!result)
            error = result.error().to_string();
        else
            done = *result;
    };
    // What arrives after this end is done stays on the wire: it is for open().
    auto deliver = [&](Output& wire, tls::Channel& channel, bool& done, std::string& error) {
        Output taken;
        taken.swap(wire);
        std::size_t at = 0;
        while (at < taken.size() && !done && error.empty()) {
            std::size_t n = std::min(piece, taken.size() - at);
            channel.receive(std::span{taken}.subspan(at, n));
            at += n;
            step(channel, done, error);
        }
        wire.insert(wire.begin(), taken.begin() + static_cast<std::ptrdiff_t>(at), taken.end());
    };
    step(client, client_done, client_error);
    for (int round = 0; round < 10; ++round) {
        deliver(to_server, server, server_done, server_error);
        deliver(to_client, client, client_done, client_error);
    }
}

Pair pair(tls::CredentialsPtr client, tls::CredentialsPtr server, std::vector<std::string> accepted) {
    return {*tls::Channel::client(std::move(client), std::move(accepted)), *tls::Channel::server(std::move(server))};
}

Opened open_all(tls::Channel& channel, Output& wire, std::size_t piece, std::size_t room) {
    Opened result;
    Output taken;
    taken.swap(wire);
    std::vector<std::byte> into(room);
    for (std::size_t at = 0; at < taken.size(); at += piece) {
        channel.receive(std::span{taken}.subspan(at, std::min(piece, taken.size() - at)));
        for (;;) {
            auto opened = channel.open(into);
            if (!opened) {
                result.error = opened.error().to_string();
                return result;
            }
            if (*opened == 0) break;
            result.plaintext.insert(result.plaintext.end(), into.begin(),
                                    into.begin() + static_cast<std::ptrdiff_t>(*opened));
        }
    }
    return result;
}

Stranger::Stranger(const SSL_METHOD* method, const tls::Pem* own, const char* groups) : ctx{SSL_CTX_new(method)} {
    SSL_CTX_set_verify(ctx.get(), SSL_VERIFY_NONE, nullptr);
    SSL_CTX_set1_groups_list(ctx.get(), groups);
    if (!own) return;
    auto chain = *tls::read_certificates(own->chain);
    auto key = *tls::read_key(own->key);
    SSL_CTX_use_certificate(ctx.get(), chain.front().get());
    SSL_CTX_use_PrivateKey(ctx.get(), key.get());
    for (std::size_t i = 1; i < chain.size(); ++i) SSL_CTX_add1_chain_cert(ctx.get(), chain[i].get());
}

void Stranger::start(bool as_client) {
    ssl.reset(SSL_new(ctx.get()));
    SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    if (as_client)
        SSL_set_connect_state(ssl.get());
    else
        SSL_set_accept_state(ssl.get());
}

void Stranger::feed(Output& wire) {
    if (!wire.empty()) BIO_write(SSL_get_rbio(ssl.get()), wire.data(), static_cast<int>(wire.size()));
    wire.clear();
}

void Stranger::drain(Output& wire) {
    std::byte buffer[4096];
    for (int n; (n = BIO_read(SSL_get_wbio(ssl.get()), buffer, sizeof buffer)) > 0;)
        wire.insert(wire.end(), buffer, buffer + n);
}

std::string Stranger::shake(tls::Channel& channel) {
    Output to_us;
    Output to_stranger;
    channel.write_to(to_stranger);
    for (int round = 0; round < 10; ++round) {
        ERR_clear_error();
        SSL_do_handshake(ssl.get());
        drain(to_us);
        channel.receive(to_us);
        auto result = channel.handshake();
        feed(to_stranger);
        if (!result) return result.error().to_string();
        if (*result && SSL_is_init_finished(ssl.get())) {
            ERR_clear_error();
            SSL_do_handshake(ssl.get());
            return {};
        }
        to_us.clear();
    }
    return "no end";
}

std::vector<std::byte> noise(std::size_t size, std::uint32_t seed) {
    std::mt19937 random{seed};
    std::vector<std::byte> bytes(size);
    for (std::byte& b : bytes) b = static_cast<std::byte>(random());
    return bytes;
}

}
