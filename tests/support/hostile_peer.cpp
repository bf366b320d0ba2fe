// SPDX-License-Identifier: Apache-2.0
#include "hostile_peer.hpp"

#include <netinet/in.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <csignal>
#include <stdexcept>

#include <culvert/base/netns.hpp>

namespace culvert::test {
namespace h2 {

std::string number(std::uint32_t value) {
    return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
            static_cast<char>(value)};
}

std::uint32_t number_in(const std::string& payload, std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = at; i < at + 4 && i < payload.size(); ++i)
        value = value << 8 | static_cast<std::uint8_t>(payload[i]);
    return value;
}

std::string frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, const std::string& payload) {
    return number(static_cast<std::uint32_t>(payload.size()) << 8 | type) + static_cast<char>(flags) + number(stream) +
           payload;
}

std::string setting(std::uint16_t id, std::uint32_t value) {
    return std::string{static_cast<char>(id >> 8), static_cast<char>(id)} + number(value);
}

namespace {
std::string text(const std::string& value) {
    std::string made;
    std::size_t rest = value.size();
    if (rest < 127) {
        made += static_cast<char>(rest);
    } else {
        made += '\x7f';
        for (rest -= 127; rest >= 128; rest /= 128) made += static_cast<char>(rest % 128 + 128);
        made += static_cast<char>(rest);
    }
    return made + value;
}
}

std::string block(const std::vector<std::pair<std::string, std::string>>& headers) {
    std::string made;
    for (const auto& [name, value] : headers) made += std::string(1, '\0') + text(name) + text(value);
    return made;
}

std::string connect_to(const std::string& authority) {
    return block({{":method", "CONNECT"}, {":authority", authority}});
}

}

namespace {

std::string reason() {
    unsigned long code = ERR_get_error();
    ERR_clear_error();
    const char* words = code ? ERR_reason_error_string(code) : nullptr;
    return words ? words : "";
}

// As if we had been here before, and been told that early data is welcome.
int made_up_session(SSL* ssl, const EVP_MD*, const unsigned char** ticket, std::size_t* size, SSL_SESSION** made) {
    static const unsigned char words[] = "a ticket that the server has never given to anybody";
    static const unsigned char secret[32] = {1, 2, 3};
    static const unsigned char aes_128_gcm_sha256[] = {0x13, 0x01};
    static const unsigned char h2[] = {'h', '2'};
    base::Handle<SSL_SESSION, SSL_SESSION_free> session{SSL_SESSION_new()};
    if (SSL_SESSION_set1_master_key(session.get(), secret, sizeof secret) != 1 ||
        SSL_SESSION_set_cipher(session.get(), SSL_CIPHER_find(ssl, aes_128_gcm_sha256)) != 1 ||
        SSL_SESSION_set_protocol_version(session.get(), TLS1_3_VERSION) != 1 ||
        SSL_SESSION_set1_alpn_selected(session.get(), h2, sizeof h2) != 1 ||
        SSL_SESSION_set_max_early_data(session.get(), 1 << 20) != 1)
        return 0;
    *ticket = words;
    *size = sizeof words;
    *made = session.release();
    return 1;
}

}

HostilePeer::HostilePeer(int netns, const SocketAddress& to) : tcp_{Connection::open(netns, {.to = to})} {}
HostilePeer::HostilePeer(base::Fd accepted) : tcp_{std::move(accepted)} {}

void HostilePeer::prepare(const Tls& tls, bool as_server) {
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
    context_.reset(SSL_CTX_new(TLS_method()));
    SSL_CTX* ctx = context_.get();
    SSL_CTX_set_min_proto_version(ctx, tls.lowest);
    SSL_CTX_set_max_proto_version(ctx, tls.highest);
    SSL_CTX_set_verify(ctx, as_server ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, [](int, X509_STORE_CTX*) { return 1; });
    if (tls.papers) {
        SSL_CTX_use_certificate(ctx, tls.papers->certificate.get());
        SSL_CTX_use_PrivateKey(ctx, tls.papers->key.get());
    }
    std::string offered = static_cast<char>(tls.alpn.size()) + tls.alpn;
    if (!tls.alpn.empty())
        SSL_CTX_set_alpn_protos(ctx, reinterpret_cast<const unsigned char*>(offered.data()),
                                static_cast<unsigned>(offered.size()));
    if (as_server && !tls.alpn.empty())
        SSL_CTX_set_alpn_select_cb(
            ctx,
            [](SSL*, const unsigned char** out, unsigned char* size, const unsigned char*, unsigned, void*) {
                static const unsigned char chosen[] = {'h', '2'};
                *out = chosen;
                *size = 2;
                return SSL_TLSEXT_ERR_OK;
            },
            nullptr);
    ssl_.reset(SSL_new(ctx));
    SSL_set_fd(ssl_.get(), tcp_.fd());
    as_server ? SSL_set_accept_state(ssl_.get()) : SSL_set_connect_state(ssl_.get());
}

std::string HostilePeer::shake_hands(const Tls& tls, bool as_server) {
    prepare(tls, as_server);
    ERR_clear_error();
    if (!tls.early.empty()) SSL_set_psk_use_session_callback(ssl_.get(), made_up_session);
    for (std::size_t at = 0, written = 0; at < tls.early.size(); at += written)
        if (SSL_write_early_data(ssl_.get(), tls.early.data() + at, tls.early.size() - at, &written) != 1)
            return "early data: " + reason();
    if (SSL_do_handshake(ssl_.get()) == 1) return {};
    std::string why = reason();
    return why.empty() ? "cut" : why;
}

void HostilePeer::begin_handshake(const Tls& tls) {
    prepare(tls, false);
    // What is written goes to the socket; the answer is not waited for.
    base::Handle<BIO, BIO_free_all> nothing{BIO_new(BIO_s_mem())};
    BIO_set_mem_eof_return(nothing.get(), -1);
    SSL_set0_rbio(ssl_.get(), nothing.release());
    SSL_do_handshake(ssl_.get());
    ERR_clear_error();
}

void HostilePeer::begin_http2() {
    send(h2::preface + h2::frame(h2::SETTINGS, 0, 0) + h2::frame(h2::SETTINGS, h2::ACK, 0));
}

bool HostilePeer::try_send(const std::string& bytes) {
    ERR_clear_error();
    std::size_t done = 0;
    return SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &done) == 1;
}

void HostilePeer::send(const std::string& bytes) {
    if (!try_send(bytes)) throw std::runtime_error("the hostile peer cannot send: " + reason());
}

bool HostilePeer::more() {
    char buffer[65536];
    std::size_t got = 0;
    ERR_clear_error();
    errno = 0;
    if (SSL_read_ex(ssl_.get(), buffer, sizeof buffer, &got) == 1) {
        plain_.append(buffer, got);
        return true;
    }
    int why = SSL_get_error(ssl_.get(), 0);
    int error = errno;
    if (why == SSL_ERROR_ZERO_RETURN) {
        broken_ = "end";
    } else if (why == SSL_ERROR_SSL) {
        std::string words = reason();
        broken_ = words.find("unexpected eof") != std::string::npos ? "end" : "alert " + words;
    } else {
        broken_ = why == SSL_ERROR_WANT_READ || error == EAGAIN ? "silence" : error == ECONNRESET ? "reset" : "end";
    }
    return false;
}

std::optional<h2::Frame> HostilePeer::next() {
    while (plain_.size() < 9)
        if (!more()) return std::nullopt;
    std::uint32_t size = h2::number_in(plain_) >> 8;
    while (plain_.size() < 9 + size)
        if (!more()) return std::nullopt;
    h2::Frame frame{static_cast<std::uint8_t>(plain_[3]), static_cast<std::uint8_t>(plain_[4]),
                    h2::number_in(plain_, 5) & 0x7fff'ffff, plain_.substr(9, size)};
    plain_.erase(0, 9 + size);
    return frame;
}

std::optional<h2::Frame> HostilePeer::next(std::uint8_t type) {
    for (;;) {
        auto frame = next();
        if (!frame || frame->type == type) return frame;
        if (frame->type == h2::PING && !(frame->flags & h2::ACK))
            try_send(h2::frame(h2::PING, h2::ACK, 0, frame->payload));
    }
}

std::string HostilePeer::raw(std::size_t bytes) {
    while (plain_.size() < bytes && more()) continue;
    std::string taken = plain_.substr(0, bytes);
    plain_.erase(0, taken.size());
    return taken;
}

std::string HostilePeer::ending(Milliseconds limit) {
    tcp_.limit(limit);
    if (!ssl_) return tcp_.ending(limit);
    auto goaway = next(h2::GOAWAY);
    tcp_.limit(10s);
    return goaway ? "GOAWAY " + std::to_string(h2::number_in(goaway->payload, 4)) : broken_;
}

bool HostilePeer::key_update(bool ask_back) {
    ERR_clear_error();
    return SSL_key_update(ssl_.get(), ask_back ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED) == 1 &&
           SSL_do_handshake(ssl_.get()) == 1;
}

HostileServer::HostileServer(int netns, std::uint16_t port) {
    auto made = base::in_netns(netns, [&]() -> base::Result<base::Fd> {
        base::Fd fd{::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        int yes = 1, no = 0;
        ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
        sockaddr_in6 any{};
        any.sin6_family = AF_INET6;
        any.sin6_port = htons(port);
        if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&any), sizeof any) != 0 || ::listen(fd.get(), 1024) != 0)
            return base::errno_while("listen");
        return fd;
    });
    if (!made) throw std::runtime_error(made.error().to_string());
    listener_ = std::move(*made);
}

HostilePeer HostileServer::accept(Milliseconds limit) {
    pollfd ready{listener_.get(), POLLIN, 0};
    if (::poll(&ready, 1, static_cast<int>(limit.count())) != 1) throw std::runtime_error("nobody calls");
    return HostilePeer{base::Fd{::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)}};
}

}
