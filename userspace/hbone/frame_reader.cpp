// SPDX-License-Identifier: Apache-2.0
#include "frame_reader.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace culvert::hbone {
namespace {

// RFC 9113 section 6.
enum Type : std::uint8_t { data = 0, headers = 1, push_promise = 5, window_update = 8, continuation = 9 };
enum Flag : std::uint8_t { end_stream = 0x1, end_headers = 0x4, padded = 0x8 };

std::uint32_t number(const std::byte* at, std::size_t bytes) noexcept {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | static_cast<std::uint32_t>(at[i]);
    return value;
}

constexpr std::uint32_t without_reserved_bit = 0x7fff'ffff;

// The largest list that we take is 64 KiB before it is packed: a library that cuts it into frames of 16 KiB needs three
// more. nghttp2 stops at the ninth, since 1.61; what came before that never does.
constexpr std::uint8_t most_continuations = 8;
constexpr std::uint32_t largest_block = 128 * 1024;

}

void write_frame_header(std::byte* to, std::uint32_t length, std::uint8_t type, std::uint8_t flags,
                        std::int32_t stream) noexcept {
    auto id = static_cast<std::uint32_t>(stream);
    const std::uint8_t header[frame_header] = {static_cast<std::uint8_t>(length >> 16),
                                               static_cast<std::uint8_t>(length >> 8),
                                               static_cast<std::uint8_t>(length),
                                               type,
                                               flags,
                                               static_cast<std::uint8_t>(id >> 24),
                                               static_cast<std::uint8_t>(id >> 16),
                                               static_cast<std::uint8_t>(id >> 8),
                                               static_cast<std::uint8_t>(id)};
    std::memcpy(to, header, sizeof header);
}

void write_window_update(std::byte* to, std::int32_t stream, std::uint32_t increment) noexcept {
    write_frame_header(to, 4, window_update, 0, stream);
    for (int i = 0; i < 4; ++i) to[frame_header + i] = static_cast<std::byte>(increment >> (24 - 8 * i));
}

void FrameReader::read(std::span<const std::byte> bytes, User& user) {
    while (!bytes.empty()) {
        std::size_t here = std::min(left_, bytes.size());
        switch (part_) {
            case Part::header:
                if (!begin(bytes, user)) return;
                continue;
            case Part::window_update:
                if (!gather(bytes, window_update_frame)) return;
                user.on_window_update(static_cast<std::int32_t>(number(&head_[5], 4) & without_reserved_bit),
                                      number(&head_[frame_header], 4) & without_reserved_bit);
                head_size_ = 0;
                part_ = Part::header;
                continue;
            case Part::padding_length:
                padding_ = static_cast<std::uint8_t>(bytes[0]);
                if (padding_ >= left_) return user.on_broken_frame();
                left_ -= 1u + padding_;
                user.on_padding(frame_, 1);
                bytes = bytes.subspan(1);
                part_ = Part::payload;
                if (left_ == 0 && !frame_.end_stream && !user.on_control(data, frame_.stream)) return;
                if (left_ == 0) finish_data(user);
                continue;
            case Part::payload: user.on_payload(frame_, bytes.first(here)); break;
            case Part::padding: user.on_padding(frame_, here); break;
            case Part::other:
                if (!user.on_other(bytes.first(here))) return;
                break;
        }
        bytes = bytes.subspan(here);
        left_ -= here;
        if (left_ > 0) continue;
        if (part_ == Part::other)
            part_ = Part::header;
        else
            finish_data(user);
    }
}

// True when head_ has so many bytes.
bool FrameReader::gather(std::span<const std::byte>& bytes, std::size_t wanted) noexcept {
    std::size_t here = std::min(wanted - head_size_, bytes.size());
    std::memcpy(&head_[head_size_], bytes.data(), here);
    head_size_ += here;
    bytes = bytes.subspan(here);
    return head_size_ == wanted;
}

bool FrameReader::begin(std::span<const std::byte>& bytes, User& user) {
    if (!gather(bytes, frame_header)) return true;
    std::uint32_t length = number(&head_[0], 3);
    auto type = static_cast<std::uint8_t>(head_[3]), flags = static_cast<std::uint8_t>(head_[4]);
    left_ = length;
    bool in_place = said_settings_ && !in_header_block_;
    auto stream = static_cast<std::int32_t>(number(&head_[5], 4) & without_reserved_bit);
    if (in_place && type == window_update && length == 4) {
        part_ = Part::window_update;
        return user.on_control(type, stream);
    }
    bool has_padding = flags & padded;
    if (!in_place || type != data || length > max_frame_ || (has_padding && length == 0)) {
        if (!in_header_block_ && type != headers && !user.on_control(type, stream)) return false;
        said_settings_ = true;
        return begin_other(type, flags, length, user);
    }
    head_size_ = 0;
    padding_ = 0;
    frame_ = {stream, length, (flags & end_stream) != 0};
    part_ = has_padding ? Part::padding_length : Part::payload;
    user.on_data_frame(frame_);
    if (length == 0) finish_data(user);
    return true;
}

bool FrameReader::block_goes_on(std::uint8_t type, std::uint8_t flags, std::uint32_t length) noexcept {
    if (type != headers && type != push_promise && type != continuation) return true;
    bool first = !std::exchange(in_header_block_, !(flags & end_headers));
    continuations_ = first ? std::uint8_t{0} : static_cast<std::uint8_t>(continuations_ + 1);
    block_ = first ? length : block_ + length;
    return continuations_ <= most_continuations && block_ <= largest_block;
}

bool FrameReader::begin_other(std::uint8_t type, std::uint8_t flags, std::uint32_t length, User& user) {
    head_size_ = 0;
    if (!block_goes_on(type, flags, length)) {
        user.on_endless_headers();
        return false;
    }
    part_ = left_ > 0 ? Part::other : Part::header;
    return user.on_other(std::span{head_}.first(frame_header));
}

// The payload, or the padding behind it, has ended.
void FrameReader::finish_data(User& user) {
    if (part_ == Part::payload && padding_ > 0) {
        part_ = Part::padding;
        left_ = padding_;
        return;
    }
    part_ = Part::header;
    user.on_data_frame_end(frame_);
}

}
