// SPDX-License-Identifier: Apache-2.0
// A round's output: what we owe the peer's flow control, what nghttp2 has to say, and bytes of each stream in turn.
#include <algorithm>
#include <cstring>

#include "session.hpp"
#include "session_callbacks.hpp"
#include "texts.hpp"

namespace culvert::hbone {
namespace {

// What we send at most in one DATA frame: three of them and their headers fit a round's output.
constexpr std::size_t frame_cap = 64 * 1024;
// That a peer may answer one frame of DATA with, besides one for each KiB: some announce whatever an app has read.
constexpr std::uint32_t window_updates_per_frame = 4;
// Rather wait for the next round than cut a frame shorter than this for want of room.
constexpr std::size_t room_floor = 4 * 1024;

}

std::span<const std::byte> Session::produce() {
    produced_ = 0;
    more_ = false;
    put_window_updates();
    // Ends of streams come from nghttp2, after their last bytes.
    while (put_control() && put_data()) {
    }
    return {Buffers::of_this_thread().plaintext_out.get(), std::exchange(produced_, 0)};
}

// Far fewer than fit: each of them says that half of a window has been read.
void Session::put_window_updates() noexcept {
    if (window_updates_.empty()) return;
    constexpr std::size_t most = Buffers::control_room / window_update_frame * window_update_frame;
    std::size_t bytes = std::min(window_updates_.size(), most);
    std::memcpy(Buffers::of_this_thread().plaintext_out.get(), window_updates_.data(), bytes);
    produced_ = bytes;
    if (bytes == window_updates_.size())
        std::vector<std::byte>{}.swap(window_updates_);
    else
        window_updates_.erase(window_updates_.begin(), window_updates_.begin() + static_cast<std::ptrdiff_t>(bytes));
    more_ = !window_updates_.empty();
}

// True when the output has room left.
bool Session::put_control() {
    if (!nghttp2_session_want_write(http2_.get())) return true;
    std::byte* out = Buffers::of_this_thread().plaintext_out.get();
    while (produced_ < Buffers::plaintext_out_size) {
        const std::uint8_t* frame = nullptr;
        auto n = nghttp2_session_mem_send(http2_.get(), &frame);
        if (n == NGHTTP2_ERR_NOMEM) check(NGHTTP2_ERR_NOMEM);
        if (n < 0) fail(h2_error(nghttp2_strerror(static_cast<int>(n))));
        if (n <= 0) return n == 0;
        CV_CHECK(static_cast<std::size_t>(n) <= Buffers::control_room, "nghttp2 cuts header blocks at 16 KiB");
        std::memcpy(out + produced_, frame, static_cast<std::size_t>(n));
        produced_ += static_cast<std::size_t>(n);
    }
    more_ = true;
    return false;
}

// One frame of each stream in turn. True when a stream has ended: nghttp2 has a frame for it.
bool Session::put_data() {
    bool ended = false;
    StreamList<&Stream::Impl::in_ready> waiting;  // for the connection's window, or for room
    while (!ready_.empty()) {
        Stream::Impl& stream = ready_.front();
        ready_.pop_front();
        if (stream.deaf) {
            StreamPtr alive{&stream};
            alive->fill_nowhere();
            continue;
        }
        if (stream.over || !stream.may_send || !stream.has_bytes() || !stream.out.open()) continue;
        std::size_t start = produced_ + frame_header;
        std::size_t room = Buffers::plaintext_out_size - std::min(start, Buffers::plaintext_out_size);
        std::size_t wanted = std::min({frame_cap, std::size_t{peer_frame_}, stream.out.left(), out_.left()});
        if (room < std::min(wanted, room_floor)) more_ = true;
        if (wanted == 0 || room < std::min(wanted, room_floor)) {
            waiting.push_back(stream);
            continue;
        }
        ended = put_data_of(stream, std::min(room, wanted)) || ended;
    }
    ready_.swap(waiting);
    return ended;
}

bool Session::put_data_of(Stream::Impl& stream, std::size_t room) {
    std::byte* frame = Buffers::of_this_thread().plaintext_out.get() + produced_;
    Filled filled = stream.fill({frame + frame_header, room});
    if (filled.bytes > 0) {
        write_frame_header(frame, static_cast<std::uint32_t>(filled.bytes), NGHTTP2_DATA, NGHTTP2_FLAG_NONE, stream.id);
        produced_ += frame_header + filled.bytes;
        budget_.earn(window_updates_per_frame + static_cast<std::uint32_t>(filled.bytes / 1024));
        out_.spend(filled.bytes);
        stream.out.spend(filled.bytes);
    }
    if (filled.outcome == Outcome::end) {
        nghttp2_data_provider end{{}, Callbacks::no_more};
        check(nghttp2_submit_data(http2_.get(), NGHTTP2_FLAG_END_STREAM, stream.id, &end));
    }
    if (stream.has_bytes()) ready_.push_back(stream);
    return filled.outcome == Outcome::end;
}

}
