// SPDX-License-Identifier: Apache-2.0
// The bytes of a tunnel: from the socket to its streams, and once a round from its streams to the socket.
#include "session.hpp"

#include <algorithm>

#include "batch.hpp"
#include "session_callbacks.hpp"
#include "texts.hpp"

namespace culvert::hbone {
namespace {

// Of one socket in one round, so that a bulk tunnel does not starve its neighbours.
constexpr std::size_t round_budget = 256 * 1024;
// Frames that nghttp2 may hold while the kernel takes none of ours; then we stop reading what asks for answers.
constexpr std::size_t queue_limit = 2000;

}

void Session::FreeNghttp2::operator()(nghttp2_session* session) const noexcept {
    nghttp2_session_del(session);
}

Session::Session(Role role, std::unique_ptr<base::Socket> socket, tls::Channel channel, const Settings& settings,
                 Owner& owner)
    : loop_{socket->loop()},
      settings_{settings},
      role_{role},
      owner_{&owner},
      reader_{role == Role::server ? NGHTTP2_CLIENT_MAGIC_LEN : 0u, settings.max_frame},
      budget_{settings.control_frames_per_second},
      in_{settings.connection_window},
      limit_{loop_, [this] { limit_reached(); }},
      ping_{loop_, [this] { ping(); }},
      idle_{loop_, [this] { drain(); }} {
    info_.peer = base::peer_address(socket->fd());
    info_.local = base::local_address(socket->fd());
    socket->observe(this);
    transport_.emplace(std::move(socket), std::move(channel));
}

Session::~Session() = default;

std::shared_ptr<Session> Session::start(Role role, std::unique_ptr<base::Socket> socket, tls::Channel channel,
                                        const Settings& settings, Owner& owner) {
    auto session = std::make_shared<Session>(role, std::move(socket), std::move(channel), settings, owner);
    session->limit_.arm(settings.handshake);
    if (role == Role::client) {
        auto begun = session->transport_->tls().handshake();
        if (!begun) session->failure_ = begun.error();
    }
    // What arrived before us gives no new edge. And nobody is told anything before our caller has the session.
    session->read_later_ = true;
    session->stopped_in_ = session->loop_.rounds();
    session->mark();
    return session;
}

void Session::on_socket_ready(base::Socket& socket) {
    Batch batch{*this};
    if (state_ == State::closing) {
        if (socket.maybe_readable()) transport_->discard();
    } else if (socket.maybe_readable() && !read_later_) {
        guard([this] { read_round(); });
    }
    if (socket.maybe_writable() && (transport_->waiting() || more_)) mark();
}

void Session::on_round_end() {
    Batch batch{*this};
    guard([this] {
        // Only once a round; and what stopped for a stuck output goes on when that has moved.
        if (read_later_ && stopped_in_ != loop_.rounds() && !output_stuck()) {
            read_later_ = false;
            if (state_ != State::closing) read_round();
        }
        flush();
    });
    if (read_later_ && !failure_ && !output_stuck()) mark();
}

bool Session::output_stuck() const noexcept {
    return transport_->waiting() && http2_ && nghttp2_session_get_outbound_queue_size(http2_.get()) > queue_limit;
}

void Session::read_round() {
    std::size_t budget = round_budget;
    while (!failure_ && !left_ && transport_->socket().maybe_readable()) {
        if (budget == 0 || output_stuck()) {
            read_later_ = true;
            stopped_in_ = loop_.rounds();
            return mark();
        }
        auto received = transport_->receive();
        if (!received && state_ == State::open && streams_ == 0) {
            left_ = true;
            return;
        }
        if (!received) return fail(received.error());
        if (*received > 0) {
            ++heard_;
            doubtful_ = false;
            take();
        }
        if (transport_->ended() && !failure_ && !left_) peer_left();
        budget -= std::min(budget, *received);
    }
}

void Session::take() {
    if (state_ == State::handshaking) {
        auto done = transport_->tls().handshake();
        if (transport_->waiting()) mark();
        if (!done) return fail(done.error());
        if (!*done) return;
        begin_http2();
    }
    std::span<std::byte> lent{Buffers::of_this_thread().plaintext_in.get(), Buffers::plaintext_in_size};
    while (!failure_) {
        auto opened = transport_->tls().open(lent);
        if (!opened) return fail(opened.error());
        if (*opened == 0) break;
        feed(lent.first(*opened));
        deliver();
    }
    if (transport_->waiting()) mark();  // a key update's answer
    if (!failure_ && transport_->tls().peer_closed()) peer_left();
}

void Session::begin_http2() {
    nghttp2_session* made = nullptr;
    int failed =
        role_ == Role::client
            ? nghttp2_session_client_new3(&made, Callbacks::all(), this, Callbacks::options(), Callbacks::memory())
            : nghttp2_session_server_new3(&made, Callbacks::all(), this, Callbacks::options(), Callbacks::memory());
    if (failed == NGHTTP2_ERR_NOMEM) return run_out();
    if (failed) return fail(h2_error(nghttp2_strerror(failed)));
    http2_.reset(made);
    // The order ztunnel sends them in.
    const nghttp2_settings_entry client[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                             {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, settings_.stream_window},
                                             {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, settings_.max_frame},
                                             {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, settings_.client_header_list}};
    const nghttp2_settings_entry server[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings_.server_streams},
                                             {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, settings_.stream_window},
                                             {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, settings_.max_frame},
                                             {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, settings_.server_header_list},
                                             {setting_takes_first_bytes, 1}};
    bool is_client = role_ == Role::client;
    check(nghttp2_submit_settings(made, NGHTTP2_FLAG_NONE, is_client ? client : server,
                                  is_client ? std::size(client) : std::size(server)));
    check(nghttp2_session_set_local_window_size(made, NGHTTP2_FLAG_NONE, 0,
                                                static_cast<std::int32_t>(settings_.connection_window)));
    if (const auto& peer = transport_->tls().peer()) info_.identity = std::make_shared<const state::Identity>(*peer);
    state_ = State::open;
    ping_.arm(settings_.ping_interval);
    if (role_ == Role::client) idle_.arm(settings_.pool_idle);
    mark();
    if (owner_) owner_->on_open();
    if (std::exchange(draining_, false)) drain();
}

void Session::feed(std::span<const std::byte> plaintext) {
    reader_.read(plaintext, *this);
    if (nghttp2_session_want_write(http2_.get())) mark();
}

void Session::deliver() {
    while (!touched_.empty()) {
        StreamPtr stream{&touched_.front()};
        touched_.pop_front();
        guard([&] { stream->deliver(); });
    }
}

void Session::flush() {
    if (failure_ || state_ == State::closed || !transport_->socket().maybe_writable()) return;
    if (transport_->congested()) {
        if (auto sent = transport_->send({}); !sent) return fail(sent.error());
        if (transport_->congested()) return;  // EPOLLOUT brings us back
    }
    std::span<const std::byte> plaintext;
    if (state_ == State::open) {
        plaintext = produce();
        if (failure_) return;
    }
    if (auto sent = transport_->send(plaintext); !sent) return fail(sent.error());
    greeted_ = greeted_ || !plaintext.empty();
    if (more_ && transport_->socket().maybe_writable()) mark();
}

}
