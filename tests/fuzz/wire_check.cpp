// SPDX-License-Identifier: Apache-2.0
#include "wire_check.hpp"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace fuzz {
namespace {

constexpr std::size_t frame_header = 9;
constexpr std::int64_t largest_window = 0x7fff'ffff;

// CULVERT_FUZZ_TRACE=1: every frame is named, for whoever reads an input that broke something.
const bool traced = std::getenv("CULVERT_FUZZ_TRACE") != nullptr;

std::uint32_t number(const std::string& bytes, std::size_t at, std::size_t size) {
    std::uint32_t value = 0;
    for (std::size_t i = at; i < at + size && i < bytes.size(); ++i)
        value = value << 8 | static_cast<std::uint8_t>(bytes[i]);
    return value;
}

}

WireCheck::WireCheck(bool culvert_is_server, std::uint32_t connection_window)
    : culvert_is_server_{culvert_is_server},
      raise_{std::max<std::int64_t>(connection_window, 65'535) - 65'535},
      in_{culvert_is_server ? NGHTTP2_CLIENT_MAGIC_LEN : 0u, {}},
      out_{culvert_is_server ? 0u : NGHTTP2_CLIENT_MAGIC_LEN, {}} {
    nghttp2_hd_inflate_new(&inflater_);
}

WireCheck::~WireCheck() {
    nghttp2_hd_inflate_del(inflater_);
}

void WireCheck::want(bool truth, const std::string& promise) {
    if (!truth && violation_.empty()) violation_ = promise;
}

template <class Each>
void WireCheck::cut(Cutter& cutter, std::span<const std::byte> bytes, Each each) {
    while (!bytes.empty()) {
        if (cutter.skip > 0) {
            std::size_t here = std::min(cutter.skip, bytes.size());
            cutter.skip -= here;
            bytes = bytes.subspan(here);
            continue;
        }
        std::size_t wanted = frame_header;
        if (cutter.frame.size() >= frame_header) wanted += number(cutter.frame, 0, 3);
        std::size_t here = std::min(wanted - cutter.frame.size(), bytes.size());
        cutter.frame.append(reinterpret_cast<const char*>(bytes.data()), here);
        bytes = bytes.subspan(here);
        if (cutter.frame.size() < frame_header) return;
        Frame frame{static_cast<std::uint8_t>(cutter.frame[3]), static_cast<std::uint8_t>(cutter.frame[4]),
                    number(cutter.frame, 5, 4) & 0x7fff'ffff, number(cutter.frame, 0, 3)};
        // Culvert reads a header block as it comes, and may refuse the request before it is whole.
        if (&cutter == &in_ && frame.type == NGHTTP2_HEADERS) streams_[frame.stream].peer_headers = true;
        if (cutter.frame.size() < frame_header + frame.length) continue;
        std::string whole = std::exchange(cutter.frame, {});
        if (traced)
            std::fprintf(stderr, "%s type %u flags %#x stream %u length %u: %#x\n",
                         &cutter == &in_ ? "peer   " : "culvert", frame.type, frame.flags, frame.stream, frame.length,
                         number(whole, frame_header, 4));
        each(frame, whole.substr(frame_header));
    }
}

void WireCheck::from_peer(std::span<const std::byte> plaintext) {
    cut(in_, plaintext, [this](const Frame& frame, const std::string& payload) { peer_frame(frame, payload); });
}

void WireCheck::from_culvert(std::span<const std::byte> plaintext) {
    cut(out_, plaintext, [this](const Frame& frame, const std::string& payload) { culvert_frame(frame, payload); });
}

void WireCheck::peer_frame(const Frame& frame, const std::string& payload) {
    switch (frame.type) {
        case NGHTTP2_DATA:
            received_ += frame.length;
            streams_[frame.stream].received += frame.length;
            break;
        case NGHTTP2_HEADERS: streams_[frame.stream].peer_headers = true; break;
        case NGHTTP2_SETTINGS:
            if (frame.flags & NGHTTP2_FLAG_ACK) break;
            ++settings_in_;
            for (std::size_t at = 0; at + 6 <= payload.size(); at += 6) {
                std::uint32_t id = number(payload, at, 2), value = number(payload, at + 2, 4);
                if (id == NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE && value <= largest_window)
                    first_window_ = std::max<std::int64_t>(first_window_, value);
                if (id == NGHTTP2_SETTINGS_MAX_FRAME_SIZE) max_frame_ = std::max(max_frame_, value);
            }
            break;
        case NGHTTP2_PUSH_PROMISE:
            promised_.insert(number(payload, frame.flags & NGHTTP2_FLAG_PADDED ? 1 : 0, 4) & 0x7fff'ffff);
            break;
        case NGHTTP2_PING: pings_in_ += !(frame.flags & NGHTTP2_FLAG_ACK); break;
        case NGHTTP2_WINDOW_UPDATE:
            (frame.stream == 0 ? granted_ : streams_[frame.stream].granted) += number(payload, 0, 4) & 0x7fff'ffff;
            break;
        default: break;
    }
}

void WireCheck::culvert_frame(const Frame& frame, const std::string& payload) {
    bool first = frames_out_++ == 0;
    bool own_id = frame.stream % 2 == 1;
    want(!first || (frame.type == NGHTTP2_SETTINGS && frame.flags == 0), "SETTINGS come first");
    want(frame.length <= max_frame_, "a frame is no larger than the peer takes");
    want(in_block_of_ == 0 || (frame.type == NGHTTP2_CONTINUATION && frame.stream == in_block_of_),
         "a header block is not interrupted");
    switch (frame.type) {
        case NGHTTP2_DATA: return data(frame, streams_[frame.stream]);
        case NGHTTP2_HEADERS:
        case NGHTTP2_CONTINUATION: return headers(frame, payload);
        case NGHTTP2_SETTINGS: return settings(frame, payload);
        case NGHTTP2_WINDOW_UPDATE: return credit(frame, payload);
        case NGHTTP2_RST_STREAM:
            // What a peer promises before it has read that we take no pushes is turned down so.
            if (!own_id && promised_.contains(frame.stream) && frame.length == 4) return;
            want(frame.length == 4 && own_id, "RST_STREAM names a stream and a code");
            want(culvert_is_server_ ? streams_[frame.stream].peer_headers : frame.stream <= last_request_,
                 "a stream that was never opened is not reset");
            streams_[frame.stream].ended = true;
            return;
        case NGHTTP2_PING:
            want(frame.length == 8 && frame.stream == 0, "PING is of 8 bytes");
            if (frame.flags & NGHTTP2_FLAG_ACK) want(++pongs_ <= pings_in_, "each PING is answered once");
            return;
        case NGHTTP2_GOAWAY: {
            std::uint32_t last = number(payload, 0, 4);
            want(frame.length >= 8 && frame.stream == 0, "GOAWAY names a stream and a code");
            // One with an error may tell of a stream that came, against the rules, behind the answer to our notice.
            if (number(payload, 4, 4) != NGHTTP2_NO_ERROR) return;
            want(last <= last_goaway_, "the last stream of GOAWAY only falls");
            last_goaway_ = last;
            return;
        }
        default: want(false, "no frame of type " + std::to_string(frame.type) + " is ours");
    }
}

void WireCheck::data(const Frame& frame, Stream& stream) {
    want(stream.headers && !stream.ended, "DATA is between HEADERS and the end of its stream");
    want(!(frame.flags & NGHTTP2_FLAG_PADDED), "we pad nothing");
    sent_ += frame.length;
    stream.sent += frame.length;
    bytes_out_ += frame.length;
    want(sent_ <= granted_, "the connection's window holds");
    want(stream.sent <= first_window_ + stream.granted, "a stream's window holds");
    if (frame.flags & NGHTTP2_FLAG_END_STREAM) stream.ended = true;
}

void WireCheck::headers(const Frame& frame, const std::string& payload) {
    Stream& stream = streams_[frame.stream];
    if (frame.type == NGHTTP2_HEADERS) {
        want(!(frame.flags & (NGHTTP2_FLAG_PADDED | NGHTTP2_FLAG_PRIORITY)), "our HEADERS are only a block");
        want(!stream.ended, "no HEADERS behind the end of a stream");
        if (culvert_is_server_) {
            want(stream.peer_headers, "only what was asked is answered");
        } else {
            want(frame.stream % 2 == 1 && frame.stream > last_request_, "a client's streams are odd and rise");
            last_request_ = std::max(last_request_, frame.stream);
        }
        stream.headers = true;
        end_after_block_ = frame.flags & NGHTTP2_FLAG_END_STREAM;
        block_.clear();
    } else {
        want(in_block_of_ != 0, "CONTINUATION continues something");
    }
    block_ += payload;
    in_block_of_ = frame.flags & NGHTTP2_FLAG_END_HEADERS ? 0 : frame.stream;
    if (in_block_of_ != 0) return;
    read_block(block_);
    if (end_after_block_) stream.ended = true;
}

void WireCheck::read_block(const std::string& block) {
    auto* at = reinterpret_cast<const std::uint8_t*>(block.data());
    std::size_t left = block.size();
    bool regular = false;
    std::string pseudo;
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        auto n = nghttp2_hd_inflate_hd2(inflater_, &nv, &flags, at, left, 1);
        if (n < 0) return want(false, "a header block can be read");
        at += n;
        left -= static_cast<std::size_t>(n);
        if (flags & NGHTTP2_HD_INFLATE_EMIT) {
            std::string name{reinterpret_cast<char*>(nv.name), nv.namelen};
            if (name.starts_with(':')) {
                want(!regular, "pseudo-headers come first");
                pseudo += name;
            } else {
                regular = true;
                want(nghttp2_check_header_name(nv.name, nv.namelen), "a header's name is one");
            }
            want(nghttp2_check_header_value(nv.value, nv.valuelen), "a header's value is one: " + name);
        }
        if (flags & NGHTTP2_HD_INFLATE_FINAL) break;
        if (n == 0 && left == 0) return want(false, "a header block is whole");
    }
    nghttp2_hd_inflate_end_headers(inflater_);
    want(pseudo == (culvert_is_server_ ? ":status" : ":method:authority"),
         "the pseudo-headers of a CONNECT: " + pseudo);
}

void WireCheck::settings(const Frame& frame, const std::string& payload) {
    want(frame.stream == 0 && frame.length % 6 == 0, "SETTINGS are the connection's, of six bytes each");
    if (frame.flags & NGHTTP2_FLAG_ACK) {
        want(frame.length == 0, "an acknowledgement says nothing else");
        want(++acks_ <= settings_in_, "SETTINGS are acknowledged once");
    }
    for (std::size_t at = 0; at + 6 <= payload.size(); at += 6) {
        std::uint32_t id = number(payload, at, 2), value = number(payload, at + 2, 4);
        if (id == NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE) want(value <= largest_window, "a window is of 31 bits");
        if (id == NGHTTP2_SETTINGS_MAX_FRAME_SIZE)
            want(value >= 16'384 && value < 1u << 24, "a frame's size is in its range");
    }
}

void WireCheck::credit(const Frame& frame, const std::string& payload) {
    std::int64_t increment = number(payload, 0, 4);
    want(frame.length == 4 && increment > 0, "WINDOW_UPDATE gives something");
    if (frame.stream == 0) {
        credited_ += increment;
        want(credited_ <= received_ + raise_, "the connection gets back what it received");
        return;
    }
    Stream& stream = streams_[frame.stream];
    stream.credited += increment;
    want(stream.credited <= stream.received, "a stream gets back what it received");
}

}
