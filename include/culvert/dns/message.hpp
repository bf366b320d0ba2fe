// SPDX-License-Identifier: Apache-2.0
// As much of RFC 1035 and 6891 as a proxy needs: reads one question and what EDNS says, writes answers of addresses.
// What is forwarded is never taken apart, but for its header and the question.
//
// Own code, for all of it is bytes in a row and what c-ares 1.18 and the C library have reads answers only.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include <culvert/base/address.hpp>

namespace culvert::dns {

using Bytes = std::vector<std::uint8_t>;
using View = std::span<const std::uint8_t>;

inline constexpr std::uint16_t type_a = 1;
inline constexpr std::uint16_t type_aaaa = 28;
inline constexpr std::uint16_t class_internet = 1;
inline constexpr std::size_t longest_message = 65535;

enum class Rcode : std::uint16_t { none = 0, malformed = 1, failed = 2, not_implemented = 4, bad_version = 16 };

std::string type_name(std::uint16_t type);  // "A", "MX", ...; "Unknown" for what nobody asks for

struct Edns {
    std::uint16_t payload = 0;  // as it was said, may be below 512
    std::uint8_t version = 0;
    bool dnssec_ok = false;
};

struct Query {
    std::string name;  // lower case, without the last dot; empty where no host could have it (the root, odd bytes)
    std::uint16_t type = 0;
    std::uint16_t class_ = 0;
    std::size_t question_end = 0;  // in its message
    std::optional<Edns> edns;

    bool asks_for_addresses() const noexcept {
        return class_ == class_internet && (type == type_a || type == type_aaaa) && !name.empty();
    }
    // What an answer by UDP may weigh.
    std::size_t most_by_udp() const noexcept { return edns && edns->payload > 512 ? edns->payload : 512; }
};

// Nothing: not even a header, or no request. Nobody is told, for what answers answers may answer itself for ever.
// Rcode: what to tell who asked.
using Parsed = std::variant<std::monostate, Rcode, Query>;
Parsed parse_query(View message);

// Addresses of the name that was asked for; by way of its first labels, if the rest was a search domain.
struct Answer {
    std::vector<base::IpAddress> addresses;  // all of the type that was asked for
    unsigned canonical_labels = 0;           // 0: no CNAME
};

// To `message`, of which `query` was parsed. Records that go beyond `most` bytes are left out, and the answer says so.
Bytes write_answer(View message, const Query& query, const Answer& answer, std::size_t most);
// To one that may be malformed behind its header.
Bytes write_error(View message, Rcode rcode);

// Whether it answers what was asked: id, question, and that it is an answer.
bool answers(View answer, View message, std::uint16_t id);
// A foreign answer as who asked shall see it: with the id of the request, from no authority.
void make_own(Bytes& answer, View message, std::size_t most);

std::uint16_t id_of(View message) noexcept;
void set_id(Bytes& message, std::uint16_t id) noexcept;
bool is_truncated(View message) noexcept;
bool is_failure(View message) noexcept;  // SERVFAIL or REFUSED: another server may know better

}
