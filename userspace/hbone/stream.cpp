// SPDX-License-Identifier: Apache-2.0
#include "stream_impl.hpp"

#include <algorithm>
#include <iterator>

#include "session.hpp"
#include "texts.hpp"

namespace culvert::hbone {
namespace {

// RFC 9113 section 7.
constexpr std::uint32_t no_error = 0, stream_closed = 5, refused_stream = 7, cancel = 8;

std::string name(std::uint32_t code) {
    static constexpr const char* names[] = {"NO_ERROR",
                                            "PROTOCOL_ERROR",
                                            "INTERNAL_ERROR",
                                            "FLOW_CONTROL_ERROR",
                                            "SETTINGS_TIMEOUT",
                                            "STREAM_CLOSED",
                                            "FRAME_SIZE_ERROR",
                                            "REFUSED_STREAM",
                                            "CANCEL",
                                            "COMPRESSION_ERROR",
                                            "CONNECT_ERROR",
                                            "ENHANCE_YOUR_CALM",
                                            "INADEQUATE_SECURITY",
                                            "HTTP_1_1_REQUIRED"};
    return code < std::size(names) ? names[code] : "code " + std::to_string(code);
}

}

void intrusive_ptr_add_ref(Stream::Impl* stream) noexcept {
    ++stream->references_;
}

void intrusive_ptr_release(Stream::Impl* stream) noexcept {
    if (--stream->references_ == 0) delete stream;
}

Stream::Impl::Impl(std::shared_ptr<Session> s) noexcept
    : session{std::move(s)}, out{session->peer_stream_window_}, in{session->settings_.stream_window} {
    ++session->objects_;
}

Stream::Impl::~Impl() {
    release_window();
    --session->objects_;
}

void Stream::Impl::open(std::int32_t stream_id) {
    id = stream_id;
    known_ = true;
    intrusive_ptr_add_ref(this);
    session->stream_opened(*this);
}

// May be the end of this object.
void Stream::Impl::forget() {
    if (std::exchange(known_, false)) intrusive_ptr_release(this);
}

void Stream::Impl::touch() {
    session->touched(*this);
}

void Stream::Impl::fail(const base::Error& why) {
    if (failure || abandoned_) return;
    failure = base::keep(why);
    if (answered) answered->set();
    touch();
}

void Stream::Impl::receive(std::span<const std::byte> data) {
    unconsumed_ += static_cast<std::uint32_t>(data.size());
    if (abandoned_) {
        release_window();
    } else if (!user_) {
        if (!early_) early_ = std::make_unique<std::vector<std::byte>>();
        early_->insert(early_->end(), data.begin(), data.end());
    } else {
        in_batch_ = true;
        touch();
        user_->on_data(data);
    }
}

void Stream::Impl::receive_end() {
    got_end = true;
    touch();
}

void Stream::Impl::receive_reset(std::uint32_t code) {
    if (sent_end && got_end) return;
    bool waiting = answered && status < 200;
    if ((code == no_error || code == cancel) && !waiting) {
        deaf = true;
        receive_end();
        if (wants_to_send) want_to_send();  // into a window that was full: nghttp2 will never ask for it again
    } else if (code == stream_closed) {
        fail(broken_pipe());
    } else {
        unprocessed = waiting && code == refused_stream;
        fail(h2_error("stream error received: " + name(code)));
    }
}

void Stream::Impl::closed(std::uint32_t code) {
    over = true;
    bool waiting = answered && status < 200;
    if (waiting && code == refused_stream) unprocessed = true;
    if (waiting || (!deaf && !refused && !(sent_end && got_end))) fail(h2_error("stream error: " + name(code)));
    in_session.unlink();
    session->stream_ended();
    forget();
}

void Stream::Impl::lost(const base::Error& why) {
    if (!(sent_end && got_end) && !refused) fail(why);
    over = true;
    in_session.unlink();
    in_ready.unlink();
    asked.reset();
    forget();
}

void Stream::Impl::deliver() {
    if (asked && asked->stream) {
        std::shared_ptr<Incoming::Impl> request{std::move(asked)};
        // One that was reset in the same breath needs nobody's decision. The user comes later, if at all.
        if (!over && session->owner_) session->owner_->on_request(Incoming{std::move(request)});
        return;
    }
    if (std::exchange(in_batch_, false) && user_) user_->on_batch_end();
    if (got_end && user_ && !std::exchange(told_end_, true)) user_->on_end();
    if (failure && user_) std::exchange(user_, nullptr)->on_reset(*failure);
}

Filled Stream::Impl::fill(std::span<std::byte> room) {
    if (first) return fill_first(room);
    Filled filled = user_->fill(room);
    if (!user_) return {};  // it destroyed its stream instead
    CV_CHECK(filled.bytes <= room.size(), "a user fills the room it was given");
    if (filled.outcome == Outcome::end) sent_end = true;
    if (filled.outcome != Outcome::more || filled.bytes == 0) wants_to_send = false;
    return filled;
}

bool Stream::Impl::has_bytes() const noexcept {
    if (!first) return wants_to_send && has_user();
    return status == 200 || (status == 0 && session->peer_takes_first_bytes());
}

Filled Stream::Impl::fill_first(std::span<std::byte> room) {
    std::size_t count = std::min(room.size(), first->size());
    std::copy_n(first->begin(), count, room.begin());
    if (count == first->size())
        first.reset();
    else
        first->erase(first->begin(), first->begin() + static_cast<std::ptrdiff_t>(count));
    return {count, Outcome::drained};
}

void Stream::Impl::fill_nowhere() {
    if (!user_ || sent_end || failure) return;
    std::byte nowhere[1024];
    Filled filled = fill(nowhere);
    if (filled.bytes > 0) fail(broken_pipe());
}

void Stream::Impl::attach(StreamUser& user) {
    StreamPtr alive{this};
    user_ = &user;
    if (auto bytes = std::move(early_)) {
        user_->on_data(*bytes);
        if (user_) user_->on_batch_end();
    }
    deliver();
}

void Stream::Impl::want_to_send() {
    if (abandoned_ || sent_end || failure) return;
    wants_to_send = true;
    if (deaf && session->closed())
        settle_alone();
    else if (may_send || deaf)
        session->ready(*this);
}

void Stream::Impl::settle_alone() {
    StreamPtr alive{this};
    fill_nowhere();
    deliver();
}

void Stream::Impl::consumed(std::size_t bytes) {
    bytes = std::min<std::size_t>(bytes, unconsumed_);
    unconsumed_ -= static_cast<std::uint32_t>(bytes);
    if (bytes > 0) session->give_back(*this, bytes);
}

void Stream::Impl::release_window() {
    consumed(unconsumed_);
}

void Stream::Impl::abandon(std::uint32_t code) {
    if (std::exchange(abandoned_, true)) return;
    StreamPtr alive{this};
    user_ = nullptr;
    answered = nullptr;
    early_.reset();
    release_window();
    if (!over && !refused && !(sent_end && got_end)) session->reset(*this, code);
}

Stream& Stream::operator=(Stream&& other) noexcept {
    Stream old{std::move(*this)};
    impl_ = std::move(other.impl_);
    return *this;
}

Stream::~Stream() {
    if (impl_) impl_->abandon(cancel);
}

void Stream::attach(StreamUser& user) {
    CV_CHECK(impl_, "a stream that was moved away has no user");
    impl_->attach(user);
}

void Stream::want_to_send() {
    if (impl_) impl_->want_to_send();
}

void Stream::consumed(std::size_t bytes) {
    if (impl_) impl_->consumed(bytes);
}

void Stream::reset(std::uint32_t error_code) {
    if (impl_) impl_->abandon(error_code);
}

}
