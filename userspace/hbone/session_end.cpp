// SPDX-License-Identifier: Apache-2.0
// How a tunnel is kept alive and how it ends.
#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>

#include "batch.hpp"
#include "session_callbacks.hpp"
#include "texts.hpp"

namespace culvert::hbone {
namespace {

using namespace std::chrono_literals;
constexpr std::uint8_t alive_payload[8] = {'c', 'u', 'l', 'v', 'e', 'r', 't', '?'};

// How long a peer may take to answer our FIN with its own, before we close without it.
constexpr auto farewell = 2s;

// Written by hand, because nghttp2 would put all that waits before it.
std::array<std::byte, 17> goaway(std::int32_t last_stream) {
    std::array<std::byte, 17> frame{};
    frame[2] = std::byte{8};
    frame[3] = std::byte{NGHTTP2_GOAWAY};
    for (int i = 0; i < 4; ++i) frame[9 + i] = static_cast<std::byte>(last_stream >> (24 - 8 * i) & 0xff);
    return frame;  // NO_ERROR
}

}

void Session::drain() {
    if (state_ == State::closing || state_ == State::closed || draining_) return;
    Batch batch{*this};
    draining_ = true;
    idle_.cancel();
    if (state_ != State::open || role_ == Role::client) return;  // a client's GOAWAY follows its last stream
    check(nghttp2_submit_shutdown_notice(http2_.get()));  // a PING follows it, and the real GOAWAY the answer: pong()
    mark();
}

void Session::pong(std::span<const std::uint8_t> payload) {
    if (std::memcmp(payload.data(), drain_payload, sizeof drain_payload) == 0) {
        if (!draining_ || std::exchange(said_goaway_, true)) return;  // the answer to something we did not ask
        check(nghttp2_submit_goaway(http2_.get(), NGHTTP2_FLAG_NONE,
                                    nghttp2_session_get_last_proc_stream_id(http2_.get()), NGHTTP2_NO_ERROR, nullptr,
                                    0));
    } else if (std::exchange(ping_waits_, false)) {
        ping_.arm(settings_.ping_interval);
    }
}

void Session::ping() {
    if (state_ != State::open) return;
    Batch batch{*this};
    if (transport_->tls().revoked()) return fail(peer_revoked());
    if (ping_waits_) {
        ping_timed_out_ = true;
        auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(settings_.ping_timeout).count();
        return guard([&] { fail(h2_error(fmt::format("the peer answered no ping in {} ms", limit))); });
    }
    ping_waits_ = true;
    check(nghttp2_submit_ping(http2_.get(), NGHTTP2_FLAG_NONE, alive_payload));
    ping_.arm(settings_.ping_timeout);
    mark();
}

void Session::find_silent() {
    if (state_ != State::open) return;
    doubtful_ = doubtful_ || ping_waits_;
    if (!ping_waits_) ping();
}

void Session::stop_waiting_for_settings() {
    if (state_ == State::open) limit_.cancel();
}

void Session::limit_reached() {
    Batch batch{*this};
    guard([this] {
        if (state_ == State::handshaking)
            fail(base::problem("tls handshake error: deadline has elapsed"));
        else if (state_ == State::open)
            fail(h2_error("deadline has elapsed before the peer's SETTINGS"));
        else
            left_ = true;
    });
}

void Session::peer_left() {
    if (state_ == State::handshaking)
        fail(base::problem("tls handshake error: the peer closed the connection"));
    else if (streams_ == 0)
        left_ = true;
    else if (!peer_goaway_.empty())
        fail(h2_error(peer_goaway_));
    else
        fail(h2_error(transport_->tls().peer_closed() ? "the peer closed the tunnel"
                                                      : "the peer closed the tunnel without close_notify"));
}

void Session::stream_ended() {
    --streams_;
    if (streams_ == 0 && role_ == Role::client && !draining_) idle_.arm(settings_.pool_idle);
}

void Session::fail(const base::Error& why) noexcept {
    if (!failure_) failure_ = base::copy_of(why);
}

void Session::run_out() noexcept {
    fail(base::shortage::error());
    if (state_ != State::closed) mark();  // it ends at the end of this round, if not of this call
}

void Session::check(int submitted) noexcept {
    if (submitted != NGHTTP2_ERR_NOMEM) return;
    base::shortage::note("a tunnel");
    run_out();
}

void Session::abort(const base::Error& why) {
    if (state_ == State::closed) return;
    Batch batch{*this};
    fail(why);
}

void Session::settle() {
    deliver();
    if (state_ == State::closed) return;
    if (failure_) return close_now(&*failure_);
    if (left_ || (state_ == State::closing && transport_->ended())) return close_now(verdict_ ? &*verdict_ : nullptr);
    if (state_ != State::open) return;
    bool ending = going_away_ || (draining_ && role_ == Role::client);
    if (ending && streams_ == 0 && !std::exchange(said_goaway_, true)) {
        check(nghttp2_submit_goaway(http2_.get(), NGHTTP2_FLAG_NONE,
                                    nghttp2_session_get_last_proc_stream_id(http2_.get()), NGHTTP2_NO_ERROR, nullptr,
                                    0));
        mark();
    }
    if (!nghttp2_session_want_read(http2_.get()) && !nghttp2_session_want_write(http2_.get())) say_goodbye();
}

void Session::say_goodbye() {
    state_ = State::closing;
    ping_.cancel();
    idle_.cancel();
    if (verdict_) lose_streams(*verdict_);
    transport_->close();
    limit_.arm(farewell);
    mark();
}

void Session::lose_streams(const base::Error& why) {
    while (!open_.empty()) StreamPtr {
            &open_.front()
            } -> lost(why);
    streams_ = 0;
    deliver();
}

void Session::close_now(const base::Error* why) {
    std::optional<base::Error> said;
    if (why) said = base::copy_of(*why);
    bool spoken = state_ == State::open && greeted_;  // nothing may come before the preface (RFC 9113 section 3.4)
    state_ = State::closed;
    limit_.cancel();
    ping_.cancel();
    idle_.cancel();
    base::RoundEnd::unlink();
    auto last_words = goaway(spoken ? nghttp2_session_get_last_proc_stream_id(http2_.get()) : 0);
    transport_->close_at_once(spoken && !said_goaway_ ? last_words : std::span<const std::byte>{});
    transport_.reset();
    lose_streams(said ? *said : tunnel_ended());
    http2_.reset();
    while (!ready_.empty()) {  // deaf ones, that nghttp2 had forgotten already
        StreamPtr stream{&ready_.front()};
        ready_.pop_front();
        guard([&] { stream->settle_alone(); });
    }
    if (Owner* owner = std::exchange(owner_, nullptr)) owner->on_closed(said ? &*said : nullptr);
}

bool Session::takes_streams(std::uint32_t likely) const noexcept {
    if (going_away() || failure_ || !nghttp2_session_check_request_allowed(http2_.get())) return false;
    return streams_ < std::min(settings_.pool_streams, peer_allows().value_or(likely));
}

std::optional<std::uint32_t> Session::peer_allows() const noexcept {
    if (!heard_settings_ || !http2_) return std::nullopt;
    return nghttp2_session_get_remote_settings(http2_.get(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

bool Session::peer_is_revoked() noexcept {
    return state_ == State::open && transport_->tls().revoked();
}

tls::SystemTime Session::peer_good_until() noexcept {
    return state_ == State::open ? transport_->tls().peer_good_until() : tls::SystemTime::max();
}

bool Session::crowded() const noexcept {
    // One stream alone, however fast, holds a quarter: its own window.
    return in_.used() >= in_.size() / 4 * 3 || !out_.open();
}

}
