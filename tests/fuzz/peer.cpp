// SPDX-License-Identifier: Apache-2.0
#include "peer.hpp"

#include <sys/socket.h>

#include "opposite.hpp"
#include "require.hpp"

namespace fuzz {
namespace {

const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr std::size_t most_plaintext = 1 << 20;  // that waits: what one program says stays small

std::string bytes_of(std::uint32_t number) {
    std::string bytes;
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(number >> shift & 0xff);
    return bytes;
}

// Mostly one of the first streams that a client opens; sometimes the connection, a server's own, or one far away.
std::uint32_t stream_of(std::uint32_t byte) {
    if (byte < 224) return 1 + 2 * (byte % 16);
    if (byte < 232) return 0;
    if (byte < 240) return 2 * (byte % 16);
    return byte < 248 ? 0x7fff'ffff - byte % 8 : 0xffff'ffff;
}

// Window sizes and the like: small, around the limits, or anything.
std::uint32_t amount(Input& input) {
    constexpr std::uint32_t special[] = {0, 1, 0x7fff'ffff, 0x7fff'0000, 65'535, 16'384, 0x8000'0000, 0xffff'ffff};
    std::uint32_t kind = input.number(1);
    if (kind < 64) return special[kind % 8];
    return kind < 128 ? input.number(1) : kind < 224 ? input.number(2) : input.number(4);
}

std::string literal(const std::string& text) {
    return static_cast<char>(std::min<std::size_t>(text.size(), 126)) + text.substr(0, 126);
}

}

Peer::Peer(culvert::base::Fd fd, culvert::tls::Channel channel, bool culvert_is_server, std::uint32_t connection_window,
           Manners manners)
    : is_client_{culvert_is_server},
      fd_{std::move(fd)},
      channel_{std::move(channel)},
      check_{culvert_is_server, connection_window} {
    if (manners == Manners::polite) opposite_ = std::make_unique<Opposite>(is_client_);
    if (!opposite_) {
        if (is_client_) plaintext_ = preface;
        frame(4, 0, 0, {});
    }
}

Peer::~Peer() = default;

void Peer::frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, const std::string& payload) {
    std::string head = bytes_of(static_cast<std::uint32_t>(payload.size()) << 8 | type) + static_cast<char>(flags);
    last_frame_ = head + bytes_of(stream) + payload;
    say(last_frame_);
}

void Peer::say(const std::string& plaintext) {
    if (plaintext_.size() + plaintext.size() <= most_plaintext) plaintext_ += plaintext;
}

void Peer::headers(Input& input) {
    std::uint32_t stream = stream_of(input.number(1)), kind = input.number(1);
    auto flags = static_cast<std::uint8_t>(kind & 1);  // END_STREAM
    if ((kind & 0x30) != 0x30) flags |= 4;             // END_HEADERS, mostly
    std::string block;
    if (!is_client_) {
        static const std::string statuses[] = {"\x88",
                                               "\x8d",
                                               "\x8c",
                                               "\x08\x03"
                                               "100",
                                               "\x08\x03"
                                               "503",
                                               ""};
        block = statuses[(kind >> 1) % 6];
    } else if ((kind & 0xe) != 0xe) {
        block = std::string{"\x02\x07"} + "CONNECT" + '\x01' + literal("10.0.0.7:8080");
    }
    if (kind & 0x40) block += std::string{'\0'} + literal(input.text(1 + input.number(1) % 16)) + literal("a");
    if (kind & 0x80) block += input.text(input.number(1) % 64);
    frame(1, flags, stream, block);
}

void Peer::again(std::size_t times) {
    while (times-- > 0) {
        if (last_frame_.size() > 13 && last_frame_[3] == 1)  // HEADERS: each opens a stream
            last_frame_[8] = static_cast<char>(last_frame_[8] + 2);
        say(last_frame_);
    }
}

void Peer::end(unsigned how) {
    if (how % 4 == 0) closes_ = true;
    if (how % 4 == 1) ::shutdown(fd_.get(), SHUT_WR);
    if (how % 4 == 2) leave();
    if (how % 4 == 3) ciphertext_.resize(ciphertext_.size() + 64, std::byte{0x17});  // no TLS
}

bool Peer::act(Input& input) {
    std::uint32_t what = input.number(1) % 15;
    if (opposite_ && what <= 11) {
        opposite_->act(what, input);
        return false;
    }
    switch (what) {
        case 0: {
            auto type = static_cast<std::uint8_t>(input.number(1)), flags = static_cast<std::uint8_t>(input.number(1));
            std::uint32_t stream = stream_of(input.number(1));
            frame(type % 12, flags, stream, input.text(input.number(1)));
            return false;
        }
        case 1: headers(input); return false;
        case 2: {
            std::uint32_t stream = stream_of(input.number(1)), flags = input.number(1) & 9, size = input.number(2);
            std::string payload(size % 17'000, 'd');
            if (flags & 8) payload = static_cast<char>(input.number(1)) + payload;
            frame(0, static_cast<std::uint8_t>(flags), stream, payload);
            return false;
        }
        case 3: {
            std::uint32_t stream = stream_of(input.number(1));
            frame(8, 0, stream, bytes_of(amount(input)));
            return false;
        }
        case 4: {
            std::string payload;
            for (std::uint32_t left = input.number(1) % 8; left > 0; --left) {
                std::uint32_t id = input.number(1);
                payload += bytes_of(id < 200 ? id % 10 : 0xf0c7).substr(2) + bytes_of(amount(input));
            }
            frame(4, 0, 0, payload);
            return false;
        }
        case 5: frame(4, 1, 0, {}); return false;
        case 6: {
            std::uint32_t stream = stream_of(input.number(1));
            frame(3, 0, stream, bytes_of(input.number(1) % 16));
            return false;
        }
        case 7: frame(6, input.number(1) & 1, 0, input.number(1) & 1 ? "culvert!" : "12345678"); return false;
        case 8: {
            std::uint32_t last = stream_of(input.number(1)), code = input.number(1) % 16;
            frame(7, 0, 0, bytes_of(last) + bytes_of(code) + input.text(input.number(1) % 32));
            return false;
        }
        case 9: {
            std::uint32_t stream = stream_of(input.number(1)), flags = input.number(1) & 4;
            frame(9, static_cast<std::uint8_t>(flags), stream, input.text(input.number(1) % 32));
            return false;
        }
        case 10: say(input.text(input.number(1))); return false;
        case 11: again(input.number(1) * (input.number(1) & 1 ? 16 : 1)); return false;
        case 12: return true;
        case 13: reads_ = !reads_; return true;
        default: end(input.number(1)); return true;
    }
}

void Peer::turn() {
    if (!fd_) return;
    channel_.write_to(ciphertext_);
    if (!established_ && !failed_ && is_client_) {
        auto begun = channel_.handshake();
        failed_ = !begun;
    }
    if (reads_) receive();
    if (established_ && !failed_) {
        if (opposite_) plaintext_ += opposite_->to_say();
        auto words = std::as_bytes(std::span{plaintext_});
        check_.from_peer(words);
        (void)channel_.seal(words).has_value();
        plaintext_.clear();
        if (closes_) channel_.close();
    }
    send();
    require(check_.violation().empty(), check_.violation());
}

void Peer::receive() {
    static std::byte ciphertext[64 * 1024];
    for (;;) {
        ssize_t n = ::recv(fd_.get(), ciphertext, sizeof ciphertext, MSG_DONTWAIT);
        if (n <= 0) return;
        if (!failed_) take({ciphertext, static_cast<std::size_t>(n)});
    }
}

void Peer::take(std::span<const std::byte> ciphertext) {
    channel_.receive(ciphertext);
    if (!established_) {
        auto done = channel_.handshake();
        failed_ = !done;
        if (failed_ || !*done) return;
        established_ = true;
    }
    static std::byte plaintext[64 * 1024];
    for (;;) {
        auto opened = channel_.open(plaintext);
        failed_ = !opened;
        if (failed_ || *opened == 0) return;
        std::span<const std::byte> words{plaintext, *opened};
        check_.from_culvert(words);
        if (opposite_) opposite_->hear(words);
    }
}

void Peer::send() {
    if (!fd_ || ciphertext_.empty()) return;
    ssize_t n = ::send(fd_.get(), ciphertext_.data(), ciphertext_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) ciphertext_.erase(ciphertext_.begin(), ciphertext_.begin() + n);
}

}
