// SPDX-License-Identifier: Apache-2.0
#include "transport.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

#include <culvert/base/shortage.hpp>

namespace culvert::hbone {
namespace {

std::unique_ptr<std::byte[]> room(std::size_t size) {
    return std::make_unique_for_overwrite<std::byte[]>(size);
}

void forget(tls::Output& bytes) noexcept {
    tls::Output{}.swap(bytes);
}  // clear() would keep the memory

}

Buffers& Buffers::of_this_thread() {
    static thread_local Buffers lent{
        room(ciphertext_in_size), room(plaintext_in_size), room(plaintext_out_size + control_room), {}};
    return lent;
}

Transport::Transport(std::unique_ptr<base::Socket> socket, tls::Channel channel)
    : socket_{std::move(socket)}, channel_{std::move(channel)} {
    channel_.write_to(waiting_);
    int yes = 1;  // a round's output is batched already
    ::setsockopt(socket_->fd(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    int bytes = 256 * 1024;  // so that what a stream sends later is not stuck behind megabytes in the kernel
    ::setsockopt(socket_->fd(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
}

// The kernel goes on with what is unsent, by default for minutes: when the peer is gone, or our own pod's cable, that
// would keep a dead pod's netns.
Transport::~Transport() {
    int patience_ms = 5000;
    ::setsockopt(socket_->fd(), IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof patience_ms);
}

base::Result<std::size_t> Transport::receive() {
    Buffers& lent = Buffers::of_this_thread();
    ssize_t n;
    do {
        n = ::recv(socket_->fd(), lent.ciphertext_in.get(), Buffers::ciphertext_in_size, 0);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        auto got = static_cast<std::size_t>(n);
        if (got < Buffers::ciphertext_in_size && !socket_->peer_half_closed()) socket_->drained();
        channel_.receive({lent.ciphertext_in.get(), got});
        return got;
    }
    socket_->drained();
    if (n < 0 && errno == EAGAIN) return std::size_t{0};
    ended_ = true;
    if (n < 0) return base::errno_while("io error");
    return std::size_t{0};
}

void Transport::discard() noexcept {
    Buffers& lent = Buffers::of_this_thread();
    for (int reads = 0; reads < 8; ++reads) {
        ssize_t n = ::recv(socket_->fd(), lent.ciphertext_in.get(), Buffers::ciphertext_in_size, 0);
        if (n > 0) continue;
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) ended_ = true;
        socket_->drained();
        return;
    }
    ended_ = true;  // it has not heard that we are done; enough
}

base::Result<std::size_t> Transport::write(std::span<const std::byte> bytes) {
    ssize_t n;
    do {
        n = ::send(socket_->fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN) return base::errno_while("io error");
    auto sent = n < 0 ? std::size_t{0} : static_cast<std::size_t>(n);
    if (sent < bytes.size()) socket_->congested();
    return sent;
}

base::Result<> Transport::send_waiting() {
    auto sent = write(waiting_);
    if (!sent) return sent.error();
    if (*sent == waiting_.size())
        forget(waiting_);
    else
        waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(*sent));
    return {};
}

base::Result<> Transport::send(std::span<const std::byte> plaintext) {
    if (plaintext.empty()) {
        if (waiting_.empty()) return {};
        auto sent = send_waiting();
        finish_if_closed();
        return sent;
    }
    tls::Output& out = Buffers::of_this_thread().ciphertext_out;
    out = waiting_;
    if (!waiting_.empty()) forget(waiting_);
    channel_.write_to(out);
    struct Back {
        ~Back() { channel.write_to(waiting); }
        tls::Channel& channel;
        tls::Output& waiting;
    } back{channel_, waiting_};
    auto sealed = channel_.seal(plaintext);
    if (!sealed) return sealed;
    auto sent = write(out);
    if (!sent) return sent.error();
    if (*sent < out.size()) waiting_.assign(out.begin() + static_cast<std::ptrdiff_t>(*sent), out.end());
    return {};
}

void Transport::close() noexcept {
    channel_.close();
    closed_ = true;
    finish_if_closed();
}

void Transport::finish_if_closed() noexcept {
    if (closed_ && waiting_.empty()) socket_->finish_writing();
}

void Transport::close_at_once(std::span<const std::byte> last_words) noexcept {
    base::shortage::guard("a goodbye", [&] {
        if (!ended_ && !closed_) {
            if (!last_words.empty()) (void)channel_.seal(last_words).has_value();
            channel_.close();
        }
        if (!ended_ && waiting()) (void)send_waiting().has_value();
    });
    // What we leave unread would turn our FIN into a reset, and a reset makes the peer's kernel forget what we just
    // said.
    if (!ended_) discard();
}

}
