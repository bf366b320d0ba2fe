// SPDX-License-Identifier: Apache-2.0
#include <culvert/tls/channel.hpp>

#include <openssl/err.h>

#include <algorithm>
#include <utility>

#include <culvert/tls/revocations.hpp>

#include "openssl.hpp"
#include "peer_check.hpp"
#include "wire.hpp"

namespace culvert::tls {
namespace {

constexpr std::size_t record_plaintext = 16 * 1024;
constexpr std::size_t record_overhead = 5 + 1 + 16;  // header, inner type, tag
// RFC 8446 section 5.5: AES-GCM keys are good for 2^24.5 full records; OpenSSL does not count them.
// So many bytes of a peer make up for its messages so far: keys wear out by use.
constexpr std::size_t bytes_per_messages = 64 * 1024;
constexpr std::uint64_t records_per_key = std::uint64_t{1} << 24;

// Grows geometrically, so that many small seals into one buffer stay linear.
void make_room(Output& output, std::size_t more) {
    std::size_t needed = output.size() + more;
    if (needed > output.capacity()) output.reserve(std::max(needed, 2 * output.capacity()));
}

}

struct Channel::Impl {
    CredentialsPtr own;  // before ssl: a renewal must not free the context of a living connection
    PeerCheck check;
    Wire wire;
    Ssl ssl;  // after what its callbacks point at
    bool established = false;
    std::uint64_t records_sealed = 0;
    std::size_t opened_lately = 0;
    std::uint64_t revocations_seen = Revocations::generation();
    bool revoked = false;
    std::optional<base::Error> failure;  // once broken, for ever broken

    static base::Result<std::unique_ptr<Impl>> make(CredentialsPtr own, PeerCheck check);
    base::Error fail(const char* when);
    // Asking OpenSSL to find out that there is nothing costs half as much as opening a small record.
    bool has_input() const noexcept { return !wire.input.empty() || SSL_has_pending(ssl.get()); }
};

base::Result<std::unique_ptr<Channel::Impl>> Channel::Impl::make(CredentialsPtr own, PeerCheck check) {
    ERR_clear_error();
    auto impl = std::make_unique<Impl>();
    impl->check = std::move(check);
    impl->own = std::move(own);
    bool client = impl->check.peer_is_server;
    impl->ssl.reset(SSL_new(client ? impl->own->client.get() : impl->own->server.get()));
    Bio bio = open_wire(impl->wire);
    if (!impl->ssl || !bio) return openssl_problem("start tls");
    SSL_set_app_data(impl->ssl.get(), &impl->check);
    BIO* both_ways = bio.release();
    SSL_set_bio(impl->ssl.get(), both_ways, both_ways);
    if (client)
        SSL_set_connect_state(impl->ssl.get());
    else
        SSL_set_accept_state(impl->ssl.get());
    return impl;
}

base::Error Channel::Impl::fail(const char* when) {
    std::string text = check.refusal;
    std::string reason = take_openssl_reason();
    if (text.empty()) {
        text = std::string{when} + ": " + (reason.empty() ? "peer closed in the middle of it" : reason);
        long verdict = SSL_get_verify_result(ssl.get());
        if (!established && verdict != X509_V_OK) text += std::string{": "} + X509_verify_cert_error_string(verdict);
    }
    failure = base::problem(std::move(text));
    return *failure;
}

Channel::Channel(std::unique_ptr<Impl> impl) noexcept : impl_{std::move(impl)} {}
Channel::Channel(Channel&&) noexcept = default;
Channel& Channel::operator=(Channel&&) noexcept = default;
Channel::~Channel() = default;

base::Result<Channel> Channel::client(CredentialsPtr own, std::vector<std::string> accepted) {
    auto impl = Impl::make(std::move(own), {.peer_is_server = true, .accepted = std::move(accepted)});
    if (!impl) return impl.error();
    return Channel{std::move(*impl)};
}

base::Result<Channel> Channel::server(CredentialsPtr own) {
    PeerCheck check;
    if (own->certified) check.trust_domain = own->certified->trust_domain;
    auto impl = Impl::make(std::move(own), std::move(check));
    if (!impl) return impl.error();
    return Channel{std::move(*impl)};
}

void Channel::write_to(Output& output) noexcept {
    impl_->wire.output = &output;
}

void Channel::receive(std::span<const std::byte> ciphertext) noexcept {
    CV_CHECK(impl_->wire.input.empty() || impl_->failure, "the last input was read to its end before more came");
    impl_->wire.input = ciphertext;
}

base::Result<bool> Channel::handshake() {
    Impl& c = *impl_;
    if (c.failure) return *c.failure;
    if (c.established) return true;
    ERR_clear_error();
    int done = SSL_do_handshake(c.ssl.get());
    if (done == 1) {
        c.established = true;
        c.check.input = &c.wire.input;
        return true;
    }
    if (SSL_get_error(c.ssl.get(), done) == SSL_ERROR_WANT_READ) return false;
    return c.fail("tls handshake error");
}

base::Result<std::size_t> Channel::open(std::span<std::byte> plaintext) {
    Impl& c = *impl_;
    CV_CHECK(c.established || c.failure, "handshake() said true before bytes flow");
    if (c.failure) return *c.failure;
    if (!c.has_input()) return std::size_t{0};
    ERR_clear_error();
    std::size_t opened = 0;
    while (opened < plaintext.size() && c.has_input()) {
        std::size_t n = 0;
        if (SSL_read_ex(c.ssl.get(), plaintext.data() + opened, plaintext.size() - opened, &n) == 1) {
            opened += n;
            continue;
        }
        int why = SSL_get_error(c.ssl.get(), 0);
        if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_ZERO_RETURN) break;
        base::Error error = c.fail("tls error");
        if (opened == 0) return error;  // else: what was good comes first, the error at the next call
        break;
    }
    c.opened_lately += opened;
    if (std::exchange(c.opened_lately, c.opened_lately % bytes_per_messages) >= bytes_per_messages)
        c.check.messages = 0;
    if (c.check.messages <= PeerCheck::most_messages) return opened;
    c.failure = base::problem("tls error: too many tls messages that carry nothing");
    if (opened == 0) return *c.failure;
    return opened;
}

bool Channel::peer_closed() const noexcept {
    // OpenSSL notes a fatal alert as a shutdown too; that is no orderly end.
    return !impl_->failure && (SSL_get_shutdown(impl_->ssl.get()) & SSL_RECEIVED_SHUTDOWN);
}

base::Result<> Channel::seal(std::span<const std::byte> plaintext) {
    Impl& c = *impl_;
    CV_CHECK(c.established || c.failure, "handshake() said true before bytes flow");
    if (c.failure) return *c.failure;
    if (plaintext.empty()) return {};
    ERR_clear_error();
    std::size_t records = (plaintext.size() + record_plaintext - 1) / record_plaintext;
    make_room(*c.wire.output, plaintext.size() + records * record_overhead);
    c.records_sealed += records;
    if (c.records_sealed > records_per_key) {
        c.records_sealed = records;
        if (SSL_key_update(c.ssl.get(), SSL_KEY_UPDATE_NOT_REQUESTED) != 1) return c.fail("tls key update");
    }
    std::size_t written = 0;  // all of it: partial writes are off, and the wire takes everything
    if (SSL_write_ex(c.ssl.get(), plaintext.data(), plaintext.size(), &written) != 1) return c.fail("tls error");
    return {};
}

void Channel::close() noexcept {
    Impl& c = *impl_;
    if (c.failure || !c.established || (SSL_get_shutdown(c.ssl.get()) & SSL_SENT_SHUTDOWN)) return;
    ERR_clear_error();
    SSL_shutdown(c.ssl.get());
    ERR_clear_error();
}

bool Channel::revoked() noexcept {
    Impl& c = *impl_;
    auto newest = Revocations::generation();
    if (std::exchange(c.revocations_seen, newest) == newest) return c.revoked;
    const Revocations* list = Revocations::in_force();
    c.revoked = list && list->revoke(SSL_get0_verified_chain(c.ssl.get()));
    return c.revoked;
}

SystemTime Channel::peer_good_until() const noexcept {
    const X509* peer = SSL_get0_peer_certificate(impl_->ssl.get());
    return peer ? to_system_time(X509_get0_notAfter(peer)) : SystemTime::max();
}

const std::optional<state::Identity>& Channel::peer() const noexcept {
    return impl_->check.peer;
}

}
