// SPDX-License-Identifier: Apache-2.0
// Each promise that the fuzz targets hold a tunnel to is broken here once, and noticed.
#include <fuzz/wire_check.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <span>
#include <string>
#include <vector>

namespace {

enum : std::uint8_t { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, GOAWAY = 7, WINDOW_UPDATE = 8 };

std::string bytes_of(std::uint32_t number) {
    std::string bytes;
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(number >> shift & 0xff);
    return bytes;
}

std::string frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, const std::string& payload = {}) {
    return bytes_of(static_cast<std::uint32_t>(payload.size()) << 8 | type) + static_cast<char>(flags) +
           bytes_of(stream) + payload;
}

const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const std::string request = frame(HEADERS, 4, 1, std::string{"\x02\x07"} + "CONNECT" + "\x01\x01" + "a");
const std::string answer = frame(HEADERS, 4, 1, "\x88");

// In pieces of every size, as sockets do it.
std::string noticed(const std::string& peer, const std::string& culvert, bool culvert_is_server = true) {
    std::string first;
    for (std::size_t piece : {std::size_t{1}, std::size_t{5}, std::size_t{1} << 20}) {
        fuzz::WireCheck check{culvert_is_server, 128 * 1024};
        auto pour = [piece](const std::string& text, auto into) {
            for (std::size_t at = 0; at < text.size(); at += piece)
                into(std::as_bytes(std::span{text}.subspan(at, std::min(piece, text.size() - at))));
        };
        pour((culvert_is_server ? preface : "") + frame(SETTINGS, 0, 0) + peer,
             [&](std::span<const std::byte> bytes) { check.from_peer(bytes); });
        pour((culvert_is_server ? "" : preface) + culvert,
             [&](std::span<const std::byte> bytes) { check.from_culvert(bytes); });
        if (piece == 1) first = check.violation();
        CHECK(check.violation() == first);
    }
    return first;
}

}

TEST_CASE("wire check: a tunnel in order has nothing to notice") {
    std::string settings = frame(SETTINGS, 0, 0, std::string{"\0\x04", 2} + bytes_of(65'536));
    CHECK(noticed(request + frame(DATA, 0, 1, "abc") + frame(PING, 0, 0, "12345678"),
                  settings + frame(SETTINGS, 1, 0) + frame(WINDOW_UPDATE, 0, 0, bytes_of(65'537)) + answer +
                      frame(PING, 1, 0, "12345678") + frame(DATA, 0, 1, std::string(16'384, 'x')) +
                      frame(WINDOW_UPDATE, 0, 1, bytes_of(3)) + frame(DATA, 1, 1) +
                      frame(GOAWAY, 0, 0, bytes_of(1) + bytes_of(0))) == "");
    CHECK(noticed("", settings + request + frame(DATA, 1, 1, "abc"), false) == "");
}

TEST_CASE("wire check: whatever breaks a promise is noticed") {
    const std::string begun = frame(SETTINGS, 0, 0), open = begun + answer;
    const std::string full = frame(DATA, 0, 1, std::string(16'384, 'x'));
    const std::string wide = frame(WINDOW_UPDATE, 0, 0, bytes_of(1 << 20)),
                      deep = frame(WINDOW_UPDATE, 0, 1, bytes_of(1 << 20));
    struct Row {
        const char* name;
        std::string peer, culvert, promise;
    };
    for (const Row& row : std::vector<Row>{
             {"no SETTINGS", request, answer, "SETTINGS come first"},
             {"a window of the connection", request + deep, open + full + full + full + full,
              "the connection's window holds"},
             {"a stream's window", request + wide, open + full + full + full + full, "a stream's window holds"},
             {"a frame too large", request + wide + deep, open + frame(DATA, 0, 1, std::string(16'385, 'x')),
              "a frame is no larger than the peer takes"},
             {"DATA first", request, begun + frame(DATA, 0, 1, "x"),
              "DATA is between HEADERS and the end of its stream"},
             {"DATA last", request, open + frame(DATA, 1, 1) + frame(DATA, 0, 1, "x"),
              "DATA is between HEADERS and the end of its stream"},
             {"DATA after a reset", request, open + frame(RST_STREAM, 0, 1, bytes_of(8)) + frame(DATA, 0, 1, "x"),
              "DATA is between HEADERS and the end of its stream"},
             {"an answer to nobody", "", open, "only what was asked is answered"},
             {"a reset of nothing", "", begun + frame(RST_STREAM, 0, 3, bytes_of(8)),
              "a stream that was never opened is not reset"},
             {"a block torn apart", request, begun + frame(HEADERS, 0, 1, "\x88") + frame(PING, 0, 0, "12345678"),
              "a header block is not interrupted"},
             {"a block nobody can read", request, begun + frame(HEADERS, 4, 1, "\xff\xff\xff\xff\xff\xff\xff"),
              "a header block can be read"},
             {"a line feed in a value", request,
              begun + frame(HEADERS, 4, 1, "\x88" + std::string{"\0\x01x\x03", 4} + "a\nb"),
              "a header's value is one: x"},
             {"no status", request, begun + frame(HEADERS, 4, 1, "\x84"), "the pseudo-headers of a CONNECT: :path"},
             {"a PING answered twice", frame(PING, 0, 0, "12345678"),
              begun + frame(PING, 1, 0, "12345678") + frame(PING, 1, 0, "12345678"), "each PING is answered once"},
             {"SETTINGS acknowledged twice", "", begun + frame(SETTINGS, 1, 0) + frame(SETTINGS, 1, 0),
              "SETTINGS are acknowledged once"},
             {"credit for nothing", request + frame(DATA, 0, 1, "abc"), open + frame(WINDOW_UPDATE, 0, 1, bytes_of(4)),
              "a stream gets back what it received"},
             {"credit for the connection", "", begun + frame(WINDOW_UPDATE, 0, 0, bytes_of(65'538)),
              "the connection gets back what it received"},
             {"credit of nothing", "", begun + frame(WINDOW_UPDATE, 0, 0, bytes_of(0)),
              "WINDOW_UPDATE gives something"},
             {"a rising GOAWAY", "",
              begun + frame(GOAWAY, 0, 0, bytes_of(1) + bytes_of(0)) + frame(GOAWAY, 0, 0, bytes_of(3) + bytes_of(0)),
              "the last stream of GOAWAY only falls"},
             {"a frame of no known type", "", begun + frame(0x20, 0, 0), "no frame of type 32 is ours"},
         }) {
        CAPTURE(row.name);
        CHECK(noticed(row.peer, row.culvert) == row.promise);
    }
}
