// SPDX-License-Identifier: Apache-2.0
#include <culvert/dns/message.hpp>

#include <algorithm>
#include <utility>

namespace culvert::dns {
namespace {

constexpr std::size_t header_size = 12;
constexpr std::size_t longest_name = 255;  // on the wire, with its last zero
constexpr std::size_t opt_size = 11;
constexpr std::uint16_t type_cname = 5;
constexpr std::uint16_t type_opt = 41;
constexpr std::uint16_t ttl_s = 30;                          // ztunnel's
constexpr std::uint16_t to_question = 0xc000 | header_size;  // a name by reference

// Bytes 2 and 3.
constexpr std::uint8_t is_response = 0x80, opcode = 0x78, authoritative = 0x04, truncated = 0x02, recursion_desired = 1;
constexpr std::uint8_t recursion_available = 0x80, checking_disabled = 0x10, rcode_bits = 0x0f;

std::uint16_t number(View bytes, std::size_t at) {
    return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

void put(Bytes& to, std::size_t at, std::uint16_t value) {
    to[at] = static_cast<std::uint8_t>(value >> 8);
    to[at + 1] = static_cast<std::uint8_t>(value);
}

void append(Bytes& to, std::uint16_t value) {
    to.push_back(static_cast<std::uint8_t>(value >> 8));
    to.push_back(static_cast<std::uint8_t>(value));
}

char lower(std::uint8_t byte) {
    return static_cast<char>(byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte);
}

// What hosts of a mesh are named with, and what wildcards are. Dots within a label are nobody's.
bool is_usual(std::uint8_t byte) {
    return byte > ' ' && byte < 0x7f && byte != '.' && byte != '\\';
}

// Where the name ends that begins at `at`; 0: nowhere. A question refers to nothing before it.
std::size_t read_name(View message, std::size_t at, std::string& name) {
    const std::size_t begin = at;
    bool usual = true;
    for (;;) {
        if (at >= message.size()) return 0;
        std::size_t length = message[at++];
        if (length == 0) break;
        if (length > 63 || at + length > message.size() || at + length - begin >= longest_name) return 0;
        if (!name.empty()) name += '.';
        for (std::uint8_t byte : message.subspan(at, length)) {
            usual = usual && is_usual(byte);
            name += lower(byte);
        }
        at += length;
    }
    if (!usual) name.clear();
    return at;
}

std::size_t skip_name(View message, std::size_t at) {
    for (;;) {
        if (at >= message.size()) return 0;
        std::size_t length = message[at++];
        if (length == 0) return at;
        if ((length & 0xc0) == 0xc0) return at < message.size() ? at + 1 : 0;
        if (length > 63) return 0;
        at += length;
    }
}

struct Record {
    std::uint16_t type = 0;
    std::size_t fixed = 0;  // where type, class, TTL and length stand
    std::size_t end = 0;
};

std::optional<Record> read_record(View message, std::size_t at) {
    std::size_t fixed = skip_name(message, at);
    if (fixed == 0 || fixed + 10 > message.size()) return {};
    std::size_t end = fixed + 10 + number(message, fixed + 8);
    if (end > message.size()) return {};
    return Record{number(message, fixed), fixed, end};
}

// Of the records behind the question, only OPT matters. False: one of them is cut off, or there are two OPTs.
bool read_edns(View message, std::size_t at, std::optional<Edns>& edns) {
    unsigned records = number(message, 6) + number(message, 8) + number(message, 10);
    for (; records > 0; --records) {
        auto record = read_record(message, at);
        if (!record) return false;
        if (record->type == type_opt) {
            if (edns || record->fixed != at + 1) return false;  // its name is the root
            edns = Edns{number(message, record->fixed + 2), message[record->fixed + 5],
                        (message[record->fixed + 6] & 0x80) != 0};
        }
        at = record->end;
    }
    return true;
}

Bytes begin_answer(View message, std::size_t until, Rcode rcode) {
    Bytes answer(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(until));
    answer[2] = static_cast<std::uint8_t>(is_response | (message[2] & (opcode | recursion_desired)));
    answer[3] = static_cast<std::uint8_t>(recursion_available | (message[3] & checking_disabled) |
                                          (static_cast<unsigned>(rcode) & rcode_bits));
    put(answer, 4, until > header_size ? 1 : 0);
    for (std::size_t count : {6, 8, 10}) put(answer, count, 0);
    return answer;
}

void append_opt(Bytes& answer, const Edns& asked, Rcode rcode) {
    answer.push_back(0);
    append(answer, type_opt);
    append(answer, std::max<std::uint16_t>(asked.payload, 512));
    answer.push_back(static_cast<std::uint8_t>(static_cast<unsigned>(rcode) >> 4));
    answer.push_back(0);  // the version that we speak
    append(answer, asked.dnssec_ok ? 0x8000 : 0);
    append(answer, 0);
    put(answer, 10, 1);
}

void append_fixed(Bytes& answer, std::uint16_t name, std::uint16_t type, std::size_t length) {
    append(answer, name);
    append(answer, type);
    append(answer, class_internet);
    append(answer, 0);
    append(answer, ttl_s);
    append(answer, static_cast<std::uint16_t>(length));
}

// The first labels of the question, as they were spelt there.
View first_labels(View message, unsigned labels) {
    std::size_t end = header_size;
    for (; labels > 0 && message[end] != 0; --labels) end += 1u + message[end];
    return message.subspan(header_size, end - header_size);
}

std::size_t question_end(View message) {
    if (message.size() < header_size || number(message, 4) != 1) return 0;
    std::string name;
    std::size_t end = read_name(message, header_size, name);
    return end != 0 && end + 4 <= message.size() ? end + 4 : 0;
}

}

std::string type_name(std::uint16_t type) {
    constexpr std::pair<std::uint16_t, const char*> names[] = {
        {1, "A"},     {2, "NS"},      {5, "CNAME"}, {6, "SOA"},    {12, "PTR"},   {13, "HINFO"}, {15, "MX"},
        {16, "TXT"},  {28, "AAAA"},   {33, "SRV"},  {35, "NAPTR"}, {43, "DS"},    {44, "SSHFP"}, {46, "RRSIG"},
        {47, "NSEC"}, {48, "DNSKEY"}, {52, "TLSA"}, {64, "SVCB"},  {65, "HTTPS"}, {255, "ANY"},  {257, "CAA"}};
    for (const auto& [number, name] : names)
        if (number == type) return name;
    return "Unknown";
}

Parsed parse_query(View message) {
    if (message.size() < header_size || (message[2] & is_response) != 0) return {};
    if ((message[2] & opcode) != 0) return Rcode::not_implemented;
    if (message.size() > longest_message || number(message, 4) != 1) return Rcode::malformed;
    Query query;
    std::size_t end = read_name(message, header_size, query.name);
    if (end == 0 || end + 4 > message.size()) return Rcode::malformed;
    query.type = number(message, end);
    query.class_ = number(message, end + 2);
    query.question_end = end + 4;
    if (!read_edns(message, query.question_end, query.edns)) return Rcode::malformed;
    return query;
}

Bytes write_answer(View message, const Query& query, const Answer& answer, std::size_t most) {
    Bytes bytes = begin_answer(message, query.question_end, Rcode::none);
    bytes[2] |= authoritative;
    const std::size_t room = std::min(most, longest_message) - (query.edns ? opt_size : 0);
    std::uint16_t name = to_question;
    std::uint16_t records = 0;
    bool all = true;
    View canonical = first_labels(message, answer.canonical_labels);
    if (!canonical.empty() && !answer.addresses.empty() && bytes.size() + 13 + canonical.size() <= room) {
        append_fixed(bytes, to_question, type_cname, canonical.size() + 1);
        name = static_cast<std::uint16_t>(0xc000 | bytes.size());
        bytes.insert(bytes.end(), canonical.begin(), canonical.end());
        bytes.push_back(0);
        ++records;
    }
    const std::size_t length = query.type == type_a ? 4 : 16;
    for (const base::IpAddress& ip : answer.addresses) {
        all = bytes.size() + 12 + length <= room;
        if (!all) break;
        append_fixed(bytes, name, query.type, length);
        bytes.insert(bytes.end(), ip.bytes.end() - static_cast<std::ptrdiff_t>(length), ip.bytes.end());
        ++records;
    }
    if (!all) bytes[2] |= truncated;
    put(bytes, 6, records);
    if (query.edns) append_opt(bytes, *query.edns, Rcode::none);
    return bytes;
}

Bytes write_error(View message, Rcode rcode) {
    auto parsed = parse_query(message);
    const auto* query = std::get_if<Query>(&parsed);
    Bytes bytes = begin_answer(message, query ? query->question_end : header_size, rcode);
    if (query && query->edns) append_opt(bytes, *query->edns, rcode);
    return bytes;
}

bool answers(View answer, View message, std::uint16_t id) {
    if (answer.size() < header_size || number(answer, 0) != id) return false;
    if ((answer[2] & is_response) == 0 || (answer[2] & opcode) != 0) return false;
    // Who refuses may not have read the question.
    if (number(answer, 4) == 0) return (answer[3] & rcode_bits) != 0;
    std::size_t end = question_end(answer);
    if (end == 0 || end != question_end(message)) return false;
    auto same = [](std::uint8_t a, std::uint8_t b) { return lower(a) == lower(b); };
    return std::equal(answer.begin() + header_size, answer.begin() + static_cast<std::ptrdiff_t>(end),
                      message.begin() + header_size, same);
}

void make_own(Bytes& answer, View message, std::size_t most) {
    put(answer, 0, id_of(message));
    answer[2] &= static_cast<std::uint8_t>(~authoritative);
    answer[3] |= recursion_available;
    if (answer.size() <= most) return;
    // By a server that gives more than was asked for: whoever wants it asks by TCP.
    answer.resize(std::max(question_end(answer), header_size));
    answer[2] |= truncated;
    for (std::size_t count : {6, 8, 10}) put(answer, count, 0);
}

std::uint16_t id_of(View message) noexcept {
    return number(message, 0);
}

void set_id(Bytes& message, std::uint16_t id) noexcept {
    put(message, 0, id);
}

bool is_truncated(View message) noexcept {
    return (message[2] & truncated) != 0;
}

bool is_failure(View message) noexcept {
    unsigned rcode = message[3] & rcode_bits;
    return rcode == 2 || rcode == 5;
}

}
