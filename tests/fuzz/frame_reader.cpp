// SPDX-License-Identifier: Apache-2.0
// FrameReader: however the bytes are cut into pieces, it says the same, passes on every byte that is not its own, and
// agrees with a reader that has all of them at once.
#include <hbone/frame_reader.hpp>

#include <vector>

#include "input.hpp"
#include "require.hpp"

using namespace culvert::hbone;
using fuzz::require;

namespace {

constexpr std::uint32_t max_frame = 1u << 20;

struct Heard final : FrameReader::User {
    std::vector<std::uint64_t> frames;  // what was said, in numbers
    std::vector<std::byte> payload, other;
    std::size_t padding = 0;
    bool broken = false;
    // Of the DATA frame that is open.
    bool open = false;
    std::uint32_t left = 0;

    void on_data_frame(const DataFrame& frame) override {
        require(!open, "frames do not nest");
        require(frame.length <= max_frame, "no frame is larger than what we take");
        require(frame.stream >= 0, "the reserved bit is no part of a stream's number");
        open = true;
        left = frame.length;
        frames.push_back(1u << 31 | static_cast<std::uint32_t>(frame.stream));
        frames.push_back(frame.length << 1 | frame.end_stream);
    }
    void on_payload(const DataFrame&, std::span<const std::byte> bytes) override {
        require(open && !bytes.empty() && bytes.size() <= left, "a payload is inside its frame");
        left -= static_cast<std::uint32_t>(bytes.size());
        payload.insert(payload.end(), bytes.begin(), bytes.end());
    }
    void on_padding(const DataFrame&, std::size_t bytes) override {
        require(open && bytes > 0 && bytes <= left, "padding is inside its frame");
        left -= static_cast<std::uint32_t>(bytes);
        padding += bytes;
    }
    void on_data_frame_end(const DataFrame&) override {
        require(open && left == 0, "a frame ends with its last byte");
        open = false;
        frames.push_back(3);
    }
    void on_window_update(std::int32_t stream, std::uint32_t increment) override {
        require(!open && stream >= 0 && increment <= 0x7fff'ffff, "an update is between frames, of 31 bits");
        frames.push_back(std::uint64_t{2} << 32 | static_cast<std::uint32_t>(stream));
        frames.push_back(increment);
    }
    void on_broken_frame() override { broken = true; }
    void on_endless_headers() override { broken = true; }
    bool on_control(std::uint8_t, std::int32_t) override { return true; }
    bool on_other(std::span<const std::byte> bytes) override {
        require(!open && !bytes.empty(), "what is nghttp2's is between frames");
        other.insert(other.end(), bytes.begin(), bytes.end());
        return true;
    }
};

Heard hear(std::size_t preface, std::span<const std::byte> bytes, std::span<const std::uint8_t> cuts) {
    Heard heard;
    FrameReader reader{preface, max_frame};
    std::size_t next = 0;
    while (!bytes.empty() && !heard.broken) {
        std::size_t size = cuts.empty() ? bytes.size() : std::size_t{1} + cuts[next++ % cuts.size()];
        size = std::min(size, bytes.size());
        reader.read(bytes.first(size), heard);
        bytes = bytes.subspan(size);
    }
    return heard;
}

}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input{data, size};
    std::size_t preface = input.number(1) % 2 ? 24 : 0;
    auto cuts = input.take(input.number(1) % 8);
    std::string rest = input.rest();
    auto bytes = std::as_bytes(std::span{rest});
    Heard whole = hear(preface, bytes, {}), pieces = hear(preface, bytes, cuts);
    require(whole.frames == pieces.frames, "pieces say the same as the whole");
    require(whole.payload == pieces.payload && whole.padding == pieces.padding && whole.other == pieces.other,
            "pieces hold the same as the whole");
    require(whole.broken == pieces.broken, "what is broken is broken in pieces too");
    require(whole.payload.size() + whole.padding + whole.other.size() <= bytes.size(), "no byte comes twice");
    return 0;
}
