// SPDX-License-Identifier: Apache-2.0
// Bytes that come on a tunnel's streams, and how many may come and go.
//
// nghttp2 never sees a payload: of a DATA frame it is shown at most an empty one, when it ends its stream or is not in
// order, so that stream states and errors stay its affair.
#include "batch.hpp"
#include "session.hpp"
#include "session_callbacks.hpp"
#include "texts.hpp"

namespace culvert::hbone {
namespace {

const std::uint8_t* raw(const std::byte* bytes) noexcept {
    return reinterpret_cast<const std::uint8_t*>(bytes);
}

}

Stream::Impl* Session::stream_of(std::int32_t id) const noexcept {
    return id == 0 ? nullptr : static_cast<Stream::Impl*>(nghttp2_session_get_stream_user_data(http2_.get(), id));
}

bool Session::on_other(std::span<const std::byte> bytes) {
    auto n = nghttp2_session_mem_recv(http2_.get(), raw(bytes.data()), bytes.size());
    if (n == NGHTTP2_ERR_NOMEM) check(NGHTTP2_ERR_NOMEM);
    if (n < 0) fail(h2_error(nghttp2_strerror(static_cast<int>(n))));
    return n >= 0;
}

// Null where DATA is not in order.
Stream::Impl* Session::receiver_of(const DataFrame& frame) const noexcept {
    Stream::Impl* stream = stream_of(frame.stream);
    return stream && stream->may_receive && !stream->got_end ? stream : nullptr;
}

// A server's bytes that would be lost: nghttp2, which is shown none, has nothing against them.
bool Session::comes_before_its_answer(const DataFrame& frame) const noexcept {
    Stream::Impl* stream = stream_of(frame.stream);
    return stream && role_ == Role::client && stream->status < 200;
}

void Session::on_data_frame(const DataFrame& frame) {
    if (!in_.take(frame.length)) end_with(NGHTTP2_FLOW_CONTROL_ERROR);
    Stream::Impl* stream = receiver_of(frame);
    if (frame.length == 0 && !frame.end_stream && !spend()) return;
    if (!stream && comes_before_its_answer(frame)) {
        check(nghttp2_submit_rst_stream(http2_.get(), NGHTTP2_FLAG_NONE, frame.stream, NGHTTP2_PROTOCOL_ERROR));
        return mark();
    }
    if (!stream) return show(frame);
    if (stream->in.take(frame.length)) return;
    stream->may_receive = false;
    check(nghttp2_submit_rst_stream(http2_.get(), NGHTTP2_FLAG_NONE, frame.stream, NGHTTP2_FLOW_CONTROL_ERROR));
}

void Session::on_payload(const DataFrame& frame, std::span<const std::byte> bytes) {
    if (Stream::Impl* stream = receiver_of(frame))
        stream->receive(bytes);
    else
        give_back(bytes.size());
}

void Session::on_padding(const DataFrame& frame, std::size_t bytes) {
    if (Stream::Impl* stream = receiver_of(frame))
        give_back(*stream, bytes);
    else
        give_back(bytes);
}

void Session::on_data_frame_end(const DataFrame& frame) {
    if (frame.end_stream && receiver_of(frame)) show(frame);
}

// Only its head, as if it had carried nothing.
void Session::show(const DataFrame& frame) {
    std::byte head[frame_header];
    write_frame_header(head, 0, NGHTTP2_DATA, frame.end_stream ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE,
                       frame.stream);
    on_other(head);
}

void Session::on_window_update(std::int32_t id, std::uint32_t increment) {
    Stream::Impl* stream = stream_of(id);
    bool odd = increment == 0 || (id != 0 && !stream);  // nghttp2 knows which of these are errors
    // It waits as we do when the peer's SETTINGS leave a stream no window at all.
    if (odd || (stream && nghttp2_session_get_stream_remote_window_size(http2_.get(), id) <= 0)) {
        std::byte update[window_update_frame];
        write_window_update(update, id, increment);
        on_other(update);
    }
    if (odd) return;
    if (stream) {
        open_window(*stream, increment);
    } else if (!out_.change(increment)) {
        end_with(NGHTTP2_FLOW_CONTROL_ERROR);
    } else if (!ready_.empty()) {
        mark();
    }
}

void Session::open_window(Stream::Impl& stream, std::uint32_t increment) {
    if (!stream.out.change(increment)) {
        check(nghttp2_submit_rst_stream(http2_.get(), NGHTTP2_FLAG_NONE, stream.id, NGHTTP2_FLOW_CONTROL_ERROR));
    } else if (stream.may_send && stream.has_bytes()) {
        ready(stream);
    }
}

void Session::peer_settings_changed() {
    heard_settings_ = true;
    auto window = nghttp2_session_get_remote_settings(http2_.get(), NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE);
    auto frame = nghttp2_session_get_remote_settings(http2_.get(), NGHTTP2_SETTINGS_MAX_FRAME_SIZE);
    auto by = static_cast<std::int64_t>(window) - static_cast<std::int64_t>(peer_stream_window_);
    peer_stream_window_ = window;
    peer_frame_ = frame;
    for (Stream::Impl& stream : open_) {
        if (!stream.out.change(by)) return end_with(NGHTTP2_FLOW_CONTROL_ERROR);
        if (by > 0 && stream.may_send && stream.has_bytes()) ready(stream);
    }
    stop_waiting_for_settings();
}

void Session::on_broken_frame() {
    end_with(NGHTTP2_PROTOCOL_ERROR);
}

void Session::on_endless_headers() {
    end_with(NGHTTP2_ENHANCE_YOUR_CALM);
}

// Requests are bounded by their number, their resets by nghttp2 on the server's side.
bool Session::on_control(std::uint8_t type, std::int32_t stream) {
    return (type == NGHTTP2_RST_STREAM && stream_of(stream)) || spend();
}

bool Session::spend() {
    if (budget_.take()) return true;
    end_with(NGHTTP2_ENHANCE_YOUR_CALM);
    return false;
}

void Session::end_with(std::uint32_t code) {
    check(nghttp2_session_terminate_session(http2_.get(), code));
    mark();
}

void Session::give_back(std::size_t bytes) {
    if (state_ != State::open) return;
    announce(0, in_.give_back(bytes));
}

void Session::give_back(Stream::Impl& stream, std::size_t bytes) {
    give_back(bytes);
    if (state_ == State::open && !stream.over && !stream.got_end) announce(stream.id, stream.in.give_back(bytes));
}

void Session::announce(std::int32_t stream, std::uint32_t bytes) {
    if (bytes == 0) return;
    guard([&] {
        std::size_t at = window_updates_.size();
        window_updates_.resize(at + window_update_frame);
        write_window_update(&window_updates_[at], stream, bytes);
    });
    mark();
}

}
