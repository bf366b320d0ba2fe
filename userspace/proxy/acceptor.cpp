// SPDX-License-Identifier: Apache-2.0
#include "acceptor.hpp"

#include <sys/socket.h>

#include <algorithm>

#include <culvert/base/log.hpp>

namespace culvert::proxy {

using namespace std::chrono_literals;

Acceptor::Acceptor(Context& context, base::Fd listener, Handler handler)
    : context_{context},
      listener_{std::move(listener)},
      own_address_{base::local_address(listener_.get())},
      handler_{std::move(handler)},
      watch_{context.loop, *this},
      retry_{context.loop, [this] { accept_some(); }} {}

base::Result<> Acceptor::start() {
    return watch_.start(listener_.get(), EPOLLIN);
}

void Acceptor::on_ready(std::uint32_t) {
    if (!retry_.armed()) accept_some();
}

void Acceptor::on_round_end() {
    accept_some();
}

void Acceptor::accept_some() {
    for (int i = 0; i < per_round; ++i)
        if (!accept_one()) return;
    context_.loop.at_round_end(*this);
}

bool Acceptor::accept_one() {
    base::Fd fd{::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
    if (!fd) {
        int error = errno;
        // The rest of accept(2)'s list are the new connection's own errors: it is gone, the next may be fine.
        if (error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS) back_off(error);
        return error != EAGAIN && !retry_.armed();
    }
    pause_ = 0ms;
    Accepted accepted{std::move(fd), {}, {}};
    accepted.source = base::peer_address(accepted.fd.get());
    accepted.target = base::local_address(accepted.fd.get());
    // Somebody in the pod called the listener itself, which nobody was redirected to: closing is all there is to say.
    if (accepted.target == own_address_) return true;
    // Neither fails on a TCP socket that lives; on one that died meanwhile the first read says so.
    (void)base::set_nodelay(accepted.fd.get());
    (void)base::set_keepalive(accepted.fd.get(), context_.limits.keepalive);
    handler_(std::move(accepted));
    return true;
}

void Acceptor::back_off(int error) {
    context_.counters.accept_errors.add();
    if (context_.loop.now() >= may_warn_) {
        may_warn_ = context_.loop.now() + 10s;
        base::log::warn("proxy", "cannot accept connections: {}. They wait; raise LimitNOFILE or the memory limit",
                        base::errno_while({}, error).cause());
    }
    pause_ = std::clamp(pause_ * 2, 10ms, 1000ms);
    retry_.arm(pause_);
}

}
