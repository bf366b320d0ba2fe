// SPDX-License-Identifier: Apache-2.0
#include "transport.hpp"

#include <openssl/err.h>
#include <sys/socket.h>

namespace culvert::grpc {

namespace {

bool later(int error) noexcept {
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

int socket_of(BIO* bio) noexcept {
    return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
}

// OpenSSL's own writes without MSG_NOSIGNAL.
int bio_write(BIO* bio, const char* data, std::size_t size, std::size_t* written) noexcept {
    BIO_clear_retry_flags(bio);
    ssize_t n = ::send(socket_of(bio), data, size, MSG_NOSIGNAL);
    if (n >= 0) {
        *written = static_cast<std::size_t>(n);
        return 1;
    }
    if (later(errno)) BIO_set_retry_write(bio);
    return 0;
}

int bio_read(BIO* bio, char* into, std::size_t size, std::size_t* taken) noexcept {
    BIO_clear_retry_flags(bio);
    ssize_t n = ::recv(socket_of(bio), into, size, 0);
    if (n > 0) {
        *taken = static_cast<std::size_t>(n);
        return 1;
    }
    if (n < 0 && later(errno)) BIO_set_retry_read(bio);
    if (n == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return 0;
}

long bio_control(BIO* bio, int command, long, void*) noexcept {
    if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

int bio_create(BIO* bio) noexcept {
    BIO_set_init(bio, 1);
    return 1;
}

BIO* open_bio(int socket) {
    static const base::Handle<BIO_METHOD, BIO_meth_free> method = [] {
        base::Handle<BIO_METHOD, BIO_meth_free> made{
            BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "culvert socket")};
        CV_CHECK(made, "a small allocation at start succeeds");
        BIO_meth_set_read_ex(made.get(), bio_read);
        BIO_meth_set_write_ex(made.get(), bio_write);
        BIO_meth_set_ctrl(made.get(), bio_control);
        BIO_meth_set_create(made.get(), bio_create);
        return made;
    }();
    BIO* bio = BIO_new(method.get());
    CV_CHECK(bio, "a small allocation succeeds");
    BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(socket)));
    return bio;
}

}

Transport::Transport(int socket, Ssl ssl) : socket_{socket}, ssl_{std::move(ssl)} {
    if (!ssl_) return;
    BIO* bio = open_bio(socket);
    SSL_set_bio(ssl_.get(), bio, bio);
}

base::Result<Wait> Transport::handshake(const Target& target, const Endpoint& endpoint) {
    if (!ssl_) return Wait::nothing;
    ERR_clear_error();
    const int done = SSL_do_handshake(ssl_.get());
    if (done == 1) {
        if (auto good = check_server(*ssl_, target, endpoint); !good) return good.error();
        return Wait::nothing;
    }
    switch (SSL_get_error(ssl_.get(), done)) {
        case SSL_ERROR_WANT_READ: return Wait::readable;
        case SSL_ERROR_WANT_WRITE: return Wait::writable;
        default: return handshake_problem(*ssl_, target, endpoint);
    }
}

base::Result<Moved> Transport::after(int result, std::size_t bytes, const char* doing) {
    if (result == 1) return Moved{.bytes = bytes};
    const int cause = errno;
    switch (SSL_get_error(ssl_.get(), result)) {
        case SSL_ERROR_WANT_READ: return Moved{.wait = Wait::readable};
        case SSL_ERROR_WANT_WRITE: return Moved{.wait = Wait::writable};
        case SSL_ERROR_ZERO_RETURN: return Moved{.end = true};
        default: break;
    }
    const bool cut = ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    const std::string reason = take_reason();
    if (cut) return Moved{.end = true};
    if (reason.empty()) return base::errno_while(doing, cause);
    return base::problem(std::string{doing} + ": " + reason);
}

base::Result<Moved> Transport::read(std::span<std::uint8_t> into) {
    constexpr auto doing = "read from the server";
    if (ssl_) {
        ERR_clear_error();
        std::size_t bytes = 0;
        const int result = SSL_read_ex(ssl_.get(), into.data(), into.size(), &bytes);
        return after(result, bytes, doing);
    }
    const ssize_t n = ::recv(socket_, into.data(), into.size(), 0);
    if (n > 0) return Moved{.bytes = static_cast<std::size_t>(n)};
    if (n == 0) return Moved{.end = true};
    if (later(errno)) return Moved{.wait = Wait::readable};
    return base::errno_while(doing);
}

base::Result<Moved> Transport::write(std::string_view bytes) {
    constexpr auto doing = "write to the server";
    if (ssl_) {
        ERR_clear_error();
        std::size_t written = 0;
        const int result = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &written);
        return after(result, written, doing);
    }
    const ssize_t n = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n >= 0) return Moved{.bytes = static_cast<std::size_t>(n)};
    if (later(errno)) return Moved{.wait = Wait::writable};
    return base::errno_while(doing);
}

void Transport::say_goodbye() noexcept {
    if (!ssl_ || SSL_in_init(ssl_.get())) return;
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    ERR_clear_error();
}

}
