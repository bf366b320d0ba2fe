// SPDX-License-Identifier: Apache-2.0
#include "acceptor.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include <culvert/base/log.hpp>

namespace culvert::proxy {

using namespace std::chrono_literals;

namespace {

// SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST, whose headers do not get along with the C library's.
constexpr int original_destination = 80;

// What was asked for before a rule rewrote it. False for who called the listener itself; from outside the pod that is a
// call like any other, to a port of ours.
bool find_original_target(Accepted& accepted) {
    sockaddr_storage raw{};
    socklen_t size = sizeof raw;
    bool v4 = accepted.target.ip.is_v4();
    // Without an entry in conntrack nothing was rewritten.
    if (::getsockopt(accepted.fd.get(), v4 ? int{SOL_IP} : int{SOL_IPV6}, original_destination, &raw, &size) != 0)
        return false;
    auto original = base::SocketAddress::from(raw);
    bool from_inside = accepted.source.ip == accepted.target.ip || accepted.source.ip.is_loopback();
    if (original == accepted.target && from_inside) return false;
    accepted.target = original;
    return true;
}

}

Acceptor::Acceptor(Context& context, capture::Listener listener, Handler handler)
    : context_{context},
      listener_{std::move(listener)},
      own_address_{base::local_address(listener_.fd.get())},
      handler_{std::move(handler)},
      watch_{context.loop, *this},
      retry_{context.loop, [this] { accept_some(); }} {}

base::Result<> Acceptor::start() {
    return watch();
}

// Of the workers that share a listener, a connection wakes one.
base::Result<> Acceptor::watch() {
    return watch_.start(listener_.fd.get(), listener_.shared ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN);
}

// The kernel wakes the first idle one of its list, which for rare connections would always be the same: whoever has
// accepted goes to the end.
void Acceptor::let_others_accept() {
    if (!std::exchange(took_some_, false) || !listener_.shared) return;
    watch_.stop();
    if (auto again = watch(); !again) base::log::error("proxy", "a listener is lost: {}", again.error().to_string());
}

void Acceptor::on_ready(std::uint32_t) {
    if (!retry_.armed()) accept_some();
}

void Acceptor::on_round_end() {
    accept_some();
}

void Acceptor::accept_some() {
    // A worker that took a shared burst whole would leave nothing to those that are only waking up.
    for (int i = 0; i < (listener_.shared ? 1 : per_round); ++i)
        if (!accept_one()) return let_others_accept();
    context_.loop.at_round_end(*this);
}

bool Acceptor::accept_one() {
    sockaddr_storage source;
    socklen_t length = sizeof source;
    base::Fd fd{
        ::accept4(listener_.fd.get(), reinterpret_cast<sockaddr*>(&source), &length, SOCK_NONBLOCK | SOCK_CLOEXEC)};
    if (!fd) {
        int error = errno;
        // Somebody shut the listener from outside (`ss -K`): it will never accept again.
        if (error == EINVAL) {
            took_some_ = false;
            watch_.stop();
            return false;
        }
        // The rest of accept(2)'s list are the new connection's own errors: it is gone, the next may be fine.
        if (error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS) back_off(error);
        return error != EAGAIN && !retry_.armed();
    }
    pause_ = 0ms;
    took_some_ = true;
    Accepted accepted{std::move(fd), base::SocketAddress::from(source), {}};
    accepted.target = base::local_address(accepted.fd.get());
    // Somebody in the pod called the listener itself, which nobody was redirected to: closing is all there is to say.
    if (accepted.target == own_address_) return true;
    if (accepted.target.port == listener_.redirected_to && !find_original_target(accepted)) return true;
    handler_(std::move(accepted));
    return true;
}

void Acceptor::accept_rest() {
    while (accept_one()) continue;
}

void Acceptor::back_off(int error) {
    context_.counters.accept_errors.add();
    auto now = base::Loop::Clock::now();
    if (now >= may_warn_) {
        may_warn_ = now + 10s;
        base::log::warn("proxy", "cannot accept connections: {}. They wait; raise LimitNOFILE or the memory limit",
                        base::errno_while({}, error).cause());
    }
    pause_ = std::clamp(pause_ * 2, 10ms, 1000ms);
    retry_.arm(pause_);
}

}
