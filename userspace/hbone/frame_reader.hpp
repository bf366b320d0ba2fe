// SPDX-License-Identifier: Apache-2.0
// Parts the frames that carry bytes, which are ours, from those that say something, which are nghttp2's.
//
// nghttp2 costs as much per DATA frame as all the rest of us; and it knows no way to be told of bytes that went past
// it.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace culvert::hbone {

inline constexpr std::size_t frame_header = 9;
inline constexpr std::size_t window_update_frame = frame_header + 4;

struct DataFrame {
    std::int32_t stream = 0;
    std::uint32_t length = 0;  // padding included
    bool end_stream = false;
};

class FrameReader {
public:
    // In the order of the wire. A frame may come in pieces.
    class User {
    public:
        // The head of any frame that carries no bytes and begins no stream. False: reads no further.
        virtual bool on_control(std::uint8_t type, std::int32_t stream) = 0;
        virtual void on_data_frame(const DataFrame& frame) = 0;
        virtual void on_payload(const DataFrame& frame, std::span<const std::byte> bytes) = 0;
        virtual void on_padding(const DataFrame& frame, std::size_t bytes) = 0;
        virtual void on_data_frame_end(const DataFrame& frame) = 0;
        virtual void on_window_update(std::int32_t stream, std::uint32_t increment) = 0;
        // The connection is of no use any more.
        virtual void on_broken_frame() = 0;
        // A header block that no request needs.
        virtual void on_endless_headers() = 0;
        // Any other, or one of those above that is malformed or out of place. False: reads no further.
        virtual bool on_other(std::span<const std::byte> bytes) = 0;

    protected:
        ~User() = default;
    };

    // Passed through before the first frame: a client's preface. The largest DATA frame that we take.
    FrameReader(std::size_t preface, std::uint32_t max_frame) noexcept
        : part_{preface > 0 ? Part::other : Part::header}, left_{preface}, max_frame_{max_frame} {}

    void read(std::span<const std::byte> bytes, User& user);

private:
    enum class Part { header, padding_length, payload, padding, window_update, other };

    bool gather(std::span<const std::byte>& bytes, std::size_t wanted) noexcept;
    bool begin(std::span<const std::byte>& bytes, User& user);
    bool begin_other(std::uint8_t type, std::uint8_t flags, std::uint32_t length, User& user);
    bool block_goes_on(std::uint8_t type, std::uint8_t flags, std::uint32_t length) noexcept;
    void finish_data(User& user);

    Part part_;
    std::size_t left_;  // of the part
    std::uint32_t max_frame_;
    std::uint8_t padding_ = 0;
    bool said_settings_ = false;    // the first frame is nghttp2's in any case
    bool in_header_block_ = false;  // only CONTINUATION may follow
    std::uint8_t continuations_ = 0;
    std::uint32_t block_ = 0;  // its bytes so far
    DataFrame frame_;
    std::array<std::byte, window_update_frame> head_;
    std::size_t head_size_ = 0;
};

// Writes nine bytes.
void write_frame_header(std::byte* to, std::uint32_t length, std::uint8_t type, std::uint8_t flags,
                        std::int32_t stream) noexcept;
// Writes the whole frame.
void write_window_update(std::byte* to, std::int32_t stream, std::uint32_t increment) noexcept;

}
