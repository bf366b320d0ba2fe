// SPDX-License-Identifier: Apache-2.0
#include "connection.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include <boost/asio/post.hpp>

namespace culvert::grpc {

namespace asio = boost::asio;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

namespace {

// Of one turn: the thread has others to serve.
constexpr std::size_t most_heard = 1u << 20;

}

Connection::Connection(asio::io_context& io, Target target, Limits limits, std::function<void()> on_closed)
    : io_{io},
      target_{std::move(target)},
      limits_{limits},
      on_closed_{std::move(on_closed)},
      session_{limits.window_bytes},
      timer_{io} {}

void Connection::start() {
    auto endpoint = endpoint_of(target_.address);
    if (!endpoint) {
        asio::post(io_, [self = shared_from_this(), error = endpoint.error()] {
            self->fail({Code::invalid_argument, error.to_string(), Origin::connecting});
        });
        return;
    }
    endpoint_ = std::move(*endpoint);
    connecting_ = std::make_shared<Connecting>(
        io_, endpoint_, limits_.connect, [self = shared_from_this()](base::Result<Connecting::Socket> socket) {
            if (self->state_ == State::closed) return;
            if (!socket) return self->fail({Code::unavailable, socket.error().to_string(), Origin::connecting});
            self->connected(std::move(*socket));
        });
    connecting_->start();
}

void Connection::connected(Connecting::Socket socket) {
    connecting_.reset();
    Ssl ssl;
    if (endpoint_.tls) {
        auto made = open_tls(target_, endpoint_);
        if (!made) return fail({Code::unavailable, made.error().to_string(), Origin::connecting});
        ssl = std::move(*made);
    }
    socket_.emplace(std::move(socket));
    transport_.emplace(socket_->native_handle(), std::move(ssl));
    state_ = State::shaking_hands;
    timer_.expires_after(limits_.handshake);
    timer_.async_wait([self = shared_from_this()](error_code cancelled) {
        if (cancelled || self->state_ != State::shaking_hands) return;
        self->fail({Code::unavailable,
                    fmt::format("TLS handshake with {}: no answer within {} ms", self->endpoint_.authority(),
                                self->limits_.handshake.count()),
                    Origin::connecting});
    });
    shake_hands();
}

void Connection::shake_hands() {
    auto wait = transport_->handshake(target_, endpoint_);
    if (!wait) return fail({Code::unavailable, wait.error().to_string(), Origin::connecting});
    if (*wait != Wait::nothing) return wait_for(*wait);
    open();
}

void Connection::open() {
    state_ = State::open;
    last_heard_ = Clock::now();
    watch_silence(limits_.ping_after, false);
    pump();
}

void Connection::add(std::shared_ptr<Call> call) {
    waiting_.push_back(std::move(call));
    if (state_ != State::connecting && state_ != State::shaking_hands) pump_soon();
}

void Connection::begin(std::shared_ptr<Call> call) {
    std::chrono::milliseconds left{0};
    if (call->deadline())
        left = std::max(std::chrono::duration_cast<std::chrono::milliseconds>(*call->deadline() - Clock::now()),
                        std::chrono::milliseconds{1});
    auto head = request_head(target_, endpoint_, call->method(), left);
    if (!head) {
        call->end({Code::unauthenticated, head.error().to_string(), Origin::connecting});
        call->deliver();
        return;
    }
    session_.start(call, *head);
    call->opened();
}

void Connection::wake(const std::shared_ptr<Call>& call) {
    session_.resume(*call);
    if (state_ == State::open) pump_soon();
}

void Connection::end(const std::shared_ptr<Call>& call, Status status) {
    session_.end(*call, std::move(status));
    pump_soon();
}

bool Connection::takes_calls() const noexcept {
    return state_ != State::closed && session_.takes_calls();
}

void Connection::take_waiting() {
    for (auto& call : std::exchange(waiting_, {})) {
        if (state_ == State::open && !call->ended()) {
            begin(std::move(call));
            continue;
        }
        if (state_ == State::closed) {
            call->unprocessed = true;
            call->end({Code::unavailable, "the connection is closed", Origin::connection});
        }
        if (!call->ended())
            waiting_.push_back(std::move(call));
        else
            call->deliver();
    }
}

void Connection::pump_soon() {
    if (std::exchange(pump_is_due_, true)) return;
    asio::post(io_, [self = shared_from_this()] {
        self->pump_is_due_ = false;
        self->pump();
    });
}

void Connection::pump() {
    auto self = shared_from_this();  // owners may let go of us while they are told
    take_waiting();
    if (state_ != State::open) return;
    session_.deliver();
    if (state_ != State::open) return;
    if (!hear()) pump_soon();
    if (state_ != State::open) return;
    say();
    if (state_ == State::open && session_.over())
        lost(session_.farewell().empty() ? "what the server says is no HTTP/2" : "it was closed");
}

bool Connection::hear() {
    std::array<std::uint8_t, 16 * 1024> buffer;
    for (std::size_t heard = 0; heard < most_heard;) {
        auto moved = transport_->read(buffer);
        if (!moved || moved->end) {
            lost(moved ? "the server closed it" : moved.error().to_string());
            return true;
        }
        if (moved->bytes == 0) {
            wait_for(moved->wait);
            return true;
        }
        heard += moved->bytes;
        last_heard_ = Clock::now();
        if (auto good = session_.receive({buffer.data(), moved->bytes}); !good) {
            lost(good.error().to_string());
            return true;
        }
        session_.deliver();
        if (state_ != State::open) return true;
    }
    return false;
}

void Connection::say() {
    for (;;) {
        while (unsent_.empty()) {
            auto bytes = session_.output();
            if (!bytes) return lost(bytes.error().to_string());
            if (bytes->empty()) return;
            unsent_ = *bytes;
        }
        auto moved = transport_->write(unsent_);
        if (!moved) {
            hear();  // why it does not listen any more, perhaps
            return lost(moved.error().to_string());
        }
        if (moved->wait != Wait::nothing) return wait_for(moved->wait);
        unsent_.erase(0, moved->bytes);
    }
}

void Connection::wait_for(Wait what) {
    if (what == Wait::nothing) return;
    const bool read = what == Wait::readable;
    if (std::exchange(read ? waits_to_read_ : waits_to_write_, true)) return;
    socket_->async_wait(read ? Connecting::Socket::wait_read : Connecting::Socket::wait_write,
                        [self = shared_from_this(), read](error_code) {
                            (read ? self->waits_to_read_ : self->waits_to_write_) = false;
                            if (self->state_ == State::shaking_hands)
                                self->shake_hands();
                            else
                                self->pump();
                        });
}

// `asked`: a PING is on its way.
void Connection::watch_silence(std::chrono::milliseconds limit, bool asked) {
    timer_.expires_at((asked ? Clock::now() : last_heard_) + limit);
    timer_.async_wait([self = shared_from_this(), at = last_heard_, asked](error_code cancelled) {
        if (cancelled || self->state_ != State::open) return;
        if (at != self->last_heard_) return self->watch_silence(self->limits_.ping_after, false);
        if (asked)
            return self->lost(
                fmt::format("no answer to an HTTP/2 PING within {} ms", self->limits_.ping_answer.count()),
                std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - at));
        self->session_.ping();
        self->pump_soon();
        self->watch_silence(self->limits_.ping_answer, true);
    });
}

void Connection::lost(const std::string& why, std::chrono::milliseconds silence) {
    std::string text = fmt::format("connection to {}: {}", endpoint_.authority(), why);
    if (const std::string farewell = session_.farewell(); !farewell.empty())
        text += fmt::format("; received prior goaway: {}", farewell);
    fail({Code::unavailable, std::move(text), Origin::connection, false, silence});
}

void Connection::fail(Status status) {
    if (state_ == State::closed) return;
    auto self = shared_from_this();
    release();
    for (auto& call : std::exchange(waiting_, {})) {
        call->end(status);
        call->deliver();
    }
    session_.end_all(status);
    if (auto on_closed = std::exchange(on_closed_, nullptr)) on_closed();
}

void Connection::close() {
    on_closed_ = nullptr;
    if (state_ == State::closed) return;
    if (state_ == State::open) {
        session_.say_goodbye();
        say();
    }
    if (state_ == State::open) transport_->say_goodbye();
    waiting_.clear();
    release();
}

void Connection::release() {
    state_ = State::closed;
    timer_.cancel();
    if (connecting_) connecting_->cancel();
    connecting_.reset();
    transport_.reset();
    socket_.reset();
    unsent_ = {};
}

}
