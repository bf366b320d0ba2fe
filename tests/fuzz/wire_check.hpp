// SPDX-License-Identifier: Apache-2.0
// Listens to a tunnel's two directions and says what Culvert sent that no peer has to take: frames that are malformed
// or out of place (RFC 9113), more bytes than flow control has allowed, credit that nothing was received for.
//
// Bounds, not a second implementation: of what the other end said all is believed at once, also what Culvert may not
// have read yet.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>

struct nghttp2_hd_inflater;

namespace fuzz {

class WireCheck {
public:
    WireCheck(bool culvert_is_server, std::uint32_t connection_window);
    ~WireCheck();
    WireCheck(const WireCheck&) = delete;
    WireCheck& operator=(const WireCheck&) = delete;

    void from_peer(std::span<const std::byte> plaintext);
    void from_culvert(std::span<const std::byte> plaintext);
    // The first thing that was wrong; empty: nothing.
    const std::string& violation() const noexcept { return violation_; }
    // DATA that Culvert sent, payloads only.
    std::uint64_t bytes_out() const noexcept { return bytes_out_; }

private:
    struct Stream {
        bool peer_headers = false, headers = false, ended = false;
        std::int64_t granted = 0, sent = 0;  // Culvert's DATA, and what WINDOW_UPDATE allowed beyond the first window
        std::int64_t received = 0, credited = 0;  // the peer's DATA, and what Culvert gave back
    };
    struct Frame {
        std::uint8_t type = 0, flags = 0;
        std::uint32_t stream = 0, length = 0;
    };
    // Cuts bytes into frames: calls on_frame with whole ones.
    struct Cutter {
        std::size_t skip;  // the preface
        std::string frame;
    };
    template <class Each>
    void cut(Cutter& cutter, std::span<const std::byte> bytes, Each each);

    void peer_frame(const Frame& frame, const std::string& payload);
    void culvert_frame(const Frame& frame, const std::string& payload);
    void data(const Frame& frame, Stream& stream);
    void headers(const Frame& frame, const std::string& payload);
    void settings(const Frame& frame, const std::string& payload);
    void credit(const Frame& frame, const std::string& payload);
    void read_block(const std::string& block);
    void want(bool truth, const std::string& promise);

    const bool culvert_is_server_;
    const std::int64_t raise_;  // of the connection's window, once, at the start
    std::string violation_;
    Cutter in_, out_;
    nghttp2_hd_inflater* inflater_ = nullptr;
    std::map<std::uint32_t, Stream> streams_;
    std::set<std::uint32_t> promised_;  // that the peer would push
    std::int64_t granted_ = 65'535, sent_ = 0, received_ = 0, credited_ = 0;
    std::int64_t first_window_ = 65'535;  // the largest that the peer has said
    std::uint32_t max_frame_ = 16'384;    // the same
    std::uint64_t settings_in_ = 0, acks_ = 0, pings_in_ = 0, pongs_ = 0, bytes_out_ = 0;
    std::uint32_t last_request_ = 0, in_block_of_ = 0, last_goaway_ = 0x7fff'ffff;
    std::uint64_t frames_out_ = 0;
    bool end_after_block_ = false;
    std::string block_;
};

}
