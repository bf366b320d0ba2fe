// SPDX-License-Identifier: Apache-2.0
// DNS messages for tests: requests made of parts, answers read as text.
#pragma once
#include <string>
#include <vector>

#include <culvert/dns/message.hpp>

namespace culvert::dns {

struct Asked {
    std::string name;
    std::uint16_t type = type_a;
    std::uint16_t id = 0x1234;
    int payload = -1;  // of EDNS; negative: without
    std::uint8_t version = 0;
    std::uint8_t flags = 1;  // byte 2
};

inline void put16(Bytes& to, unsigned value) {
    to.push_back(static_cast<std::uint8_t>(value >> 8));
    to.push_back(static_cast<std::uint8_t>(value));
}

inline Bytes request(const Asked& asked) {
    Bytes bytes;
    put16(bytes, asked.id);
    bytes.push_back(asked.flags);
    bytes.push_back(0);
    for (unsigned count : {1, 0, 0, asked.payload >= 0 ? 1 : 0}) put16(bytes, count);
    for (std::size_t at = 0; at < asked.name.size();) {
        std::size_t end = std::min(asked.name.find('.', at), asked.name.size());
        bytes.push_back(static_cast<std::uint8_t>(end - at));
        bytes.insert(bytes.end(), asked.name.begin() + static_cast<long>(at),
                     asked.name.begin() + static_cast<long>(end));
        at = end + 1;
    }
    bytes.push_back(0);
    put16(bytes, asked.type);
    put16(bytes, class_internet);
    if (asked.payload < 0) return bytes;
    bytes.push_back(0);
    put16(bytes, 41);
    put16(bytes, static_cast<unsigned>(asked.payload));
    bytes.push_back(0);
    bytes.push_back(asked.version);
    put16(bytes, 0x8000);
    put16(bytes, 0);
    return bytes;
}

// What an answer says, by a reader that shares nothing with the writer: "id 1234 aa tc ra 0: name A 10.0.0.1, ..."
class Reading {
public:
    explicit Reading(View bytes) : bytes_{bytes} {
        rcode = bytes[3] & 15;
        authoritative = (bytes[2] & 4) != 0;
        truncated = (bytes[2] & 2) != 0;
        available = (bytes[3] & 0x80) != 0;
        response = (bytes[2] & 0x80) != 0;
        std::size_t at = 12;
        if (count(4) == 1) {
            question = name(at);
            at += 4;
        }
        for (unsigned i = 0; i < count(6); ++i) records.push_back(record(at));
        for (unsigned i = 0; i < count(8) + count(10); ++i) record(at);
        whole = at == bytes.size();
    }

    unsigned rcode = 0;
    bool authoritative = false, truncated = false, available = false, response = false, whole = false;
    std::string question;
    std::vector<std::string> records;  // "a.b 30 A 10.0.0.1", "c 30 CNAME a.b"
    int payload = -1;
    unsigned extended = 0;

private:
    unsigned count(std::size_t at) const { return static_cast<unsigned>(bytes_[at] << 8 | bytes_[at + 1]); }
    std::string name(std::size_t& at) const {
        std::string text;
        std::size_t here = at;
        bool jumped = false;
        for (;;) {
            unsigned length = bytes_[here++];
            if (length >= 0xc0) {
                std::size_t target = (length & 0x3f) << 8 | bytes_[here++];
                if (!jumped) at = here;
                jumped = true;
                here = target;
                continue;
            }
            if (length == 0) break;
            if (!text.empty()) text += '.';
            for (; length > 0; --length) text += static_cast<char>(bytes_[here++]);
        }
        if (!jumped) at = here;
        return text;
    }
    std::string record(std::size_t& at) {
        std::string owner = name(at);
        unsigned type = count(at), size = count(at + 8);
        if (type == 41) {
            payload = static_cast<int>(count(at + 2));
            extended = bytes_[at + 4];
        }
        std::string text = owner + " " + std::to_string(count(at + 6)) + " ";
        at += 10;
        std::size_t data = at;
        at += size;
        base::IpAddress ip = base::IpAddress::any(AF_INET);
        if (type == 1) {
            for (int i = 0; i < 4; ++i)
                ip.bytes[12 + static_cast<unsigned>(i)] = bytes_[data + static_cast<unsigned>(i)];
            return text + "A " + ip.to_string();
        }
        if (type == 28) {
            for (unsigned i = 0; i < 16; ++i) ip.bytes[i] = bytes_[data + i];
            return text + "AAAA " + ip.to_string();
        }
        if (type == 5) return text + "CNAME " + name(data);
        return text + std::to_string(type);
    }

    View bytes_;
};

}
