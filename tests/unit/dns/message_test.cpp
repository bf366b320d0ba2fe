// SPDX-License-Identifier: Apache-2.0
#include <culvert/dns/message.hpp>

#include <doctest/doctest.h>

#include "packet.hpp"

using namespace culvert;
using namespace culvert::dns;

namespace {

Query parsed(const Bytes& bytes) {
    auto query = parse_query(bytes);
    REQUIRE(std::holds_alternative<Query>(query));
    return std::get<Query>(query);
}

Rcode refused(const Bytes& bytes) {
    auto query = parse_query(bytes);
    REQUIRE(std::holds_alternative<Rcode>(query));
    return std::get<Rcode>(query);
}

base::IpAddress ip(std::string_view text) {
    return base::IpAddress::parse(text).value();
}

Answer many(unsigned count) {
    Answer answer;
    for (unsigned i = 0; i < count; ++i) answer.addresses.push_back(ip("240.0.0." + std::to_string(i)));
    return answer;
}

}

TEST_SUITE("dns") {

TEST_CASE("message: a question is read in lower case, its case is kept in the answer") {
    Bytes bytes = request({.name = "WWW.Example.com"});
    Query query = parsed(bytes);
    CHECK(query.name == "www.example.com");
    CHECK(query.type == type_a);
    CHECK(!query.edns);
    CHECK(query.most_by_udp() == 512);
    Reading answer{write_answer(bytes, query, {{ip("10.0.0.1")}, 0}, 512)};
    CHECK(answer.question == "WWW.Example.com");
    CHECK(answer.records == std::vector<std::string>{"WWW.Example.com 30 A 10.0.0.1"});
    CHECK(answer.authoritative);
    CHECK(answer.available);
    CHECK(answer.response);
    CHECK(answer.whole);
    CHECK(answer.payload == -1);
}

TEST_CASE("message: AAAA, and a CNAME of the question's first labels") {
    Bytes bytes = request({.name = "www.Google.com.ns1.svc.cluster.local", .type = type_aaaa});
    Reading answer{write_answer(bytes, parsed(bytes), {{ip("fd00::1"), ip("fd00::2")}, 3}, 512)};
    CHECK(answer.records == std::vector<std::string>{"www.Google.com.ns1.svc.cluster.local 30 CNAME www.Google.com",
                                                     "www.Google.com 30 AAAA fd00::1",
                                                     "www.Google.com 30 AAAA fd00::2"});
    CHECK(answer.whole);
}

TEST_CASE("message: an empty answer is authoritative, and has no CNAME") {
    Bytes bytes = request({.name = "a.b"});
    Reading answer{write_answer(bytes, parsed(bytes), {{}, 1}, 512)};
    CHECK(answer.authoritative);
    CHECK(answer.rcode == 0);
    CHECK(answer.records.empty());
}

TEST_CASE("message: EDNS is echoed, with at least 512") {
    for (auto [asked, said] : {std::pair{1232, 1232}, {100, 512}, {0, 512}, {65535, 65535}}) {
        CAPTURE(asked);
        Bytes bytes = request({.name = "a", .payload = asked});
        Query query = parsed(bytes);
        REQUIRE(query.edns);
        CHECK(query.edns->dnssec_ok);
        CHECK(query.most_by_udp() == static_cast<std::size_t>(said));
        Reading answer{write_answer(bytes, query, many(1), query.most_by_udp())};
        CHECK(answer.payload == said);
        CHECK(answer.records.size() == 1);
        CHECK(answer.whole);
    }
}

TEST_CASE("message: what does not fit is left out, and that is said") {
    Bytes bytes = request({.name = "large.com"});
    Bytes by_udp = write_answer(bytes, parsed(bytes), many(256), 512);
    CHECK(by_udp.size() <= 512);
    Reading cut{by_udp};
    CHECK(cut.truncated);
    CHECK(cut.records.size() == 30);
    CHECK(cut.whole);
    Reading by_tcp{write_answer(bytes, parsed(bytes), many(256), longest_message)};
    CHECK(!by_tcp.truncated);
    CHECK(by_tcp.records.size() == 256);

    Bytes with_edns = request({.name = "large.com", .payload = 1232});
    Bytes more = write_answer(with_edns, parsed(with_edns), many(256), 1232);
    CHECK(more.size() <= 1232);
    CHECK(Reading{more}.payload == 1232);
    CHECK(Reading{more}.records.size() == 74);
}

TEST_CASE("message: the longest name still fits by UDP") {
    std::string name;
    for (int i = 0; i < 63; ++i) name += "abc.";
    name += "d";
    Bytes bytes = request({.name = name, .payload = 512});
    Query query = parsed(bytes);
    CHECK(query.name == name);
    Bytes answer = write_answer(bytes, query, {many(40).addresses, 60}, 512);
    CHECK(answer.size() <= 512);
    CHECK(Reading{answer}.whole);
    CHECK(Reading{answer}.truncated);
}

TEST_CASE("message: what is no request is answered by nobody") {
    CHECK(std::holds_alternative<std::monostate>(parse_query({})));
    Bytes bytes = request({.name = "a"});
    CHECK(std::holds_alternative<std::monostate>(parse_query(View{bytes}.first(11))));
    CHECK(std::holds_alternative<std::monostate>(parse_query(request({.name = "a", .flags = 0x81}))));
    CHECK(std::holds_alternative<std::monostate>(parse_query(write_error(bytes, Rcode::failed))));
}

TEST_CASE("message: other opcodes are not implemented, and what is cut off is malformed") {
    CHECK(refused(request({.name = "a", .flags = 0x28})) == Rcode::not_implemented);
    Bytes whole = request({.name = "abc.de", .payload = 4096});
    for (std::size_t size = 12; size < whole.size(); ++size) {
        CAPTURE(size);
        CHECK(refused(Bytes(whole.begin(), whole.begin() + static_cast<long>(size))) == Rcode::malformed);
    }
    Bytes two = request({.name = "a"});
    two[5] = 2;
    CHECK(refused(two) == Rcode::malformed);
    Bytes none = request({.name = "a"});
    none[5] = 0;
    CHECK(refused(none) == Rcode::malformed);
    Bytes pointer = request({.name = "a"});
    pointer[12] = 0xc0;
    CHECK(refused(pointer) == Rcode::malformed);
    Bytes two_opts = request({.name = "a", .payload = 512});
    two_opts.insert(two_opts.end(), two_opts.end() - 11, two_opts.end());
    two_opts[11] = 2;
    CHECK(refused(two_opts) == Rcode::malformed);
}

TEST_CASE("message: names of 255 bytes and labels of 63 are the longest") {
    auto label = [](std::size_t size) { return std::string(size, 'x'); };
    std::string longest = label(63) + "." + label(63) + "." + label(63) + "." + label(61);
    CHECK(parsed(request({.name = longest})).name == longest);
    CHECK(refused(request({.name = longest + "x"})) == Rcode::malformed);
    CHECK(refused(request({.name = label(64)})) == Rcode::malformed);
}

TEST_CASE("message: names that no host has are forwarded") {
    Bytes root = request({.name = ""});
    CHECK(!parsed(root).asks_for_addresses());
    Bytes dotted = request({.name = "a-b"});
    dotted[14] = '.';
    CHECK(!parsed(dotted).asks_for_addresses());
    Bytes chaos = request({.name = "a"});
    chaos.back() = 3;
    CHECK(!parsed(chaos).asks_for_addresses());
    CHECK(!parsed(request({.name = "a", .type = 16})).asks_for_addresses());
    CHECK(parsed(request({.name = "a", .type = type_aaaa})).asks_for_addresses());
}

TEST_CASE("message: errors carry the question where there is one, and EDNS with the rest of the code") {
    Bytes bytes = request({.name = "a.b", .payload = 1232, .version = 1});
    Reading error{write_error(bytes, Rcode::bad_version)};
    CHECK(error.rcode == 0);
    CHECK(error.extended == 1);
    CHECK(error.question == "a.b");
    CHECK(!error.authoritative);
    Bytes cut = request({.name = "a.b"});
    cut.pop_back();
    Reading malformed{write_error(cut, Rcode::malformed)};
    CHECK(malformed.rcode == 1);
    CHECK(malformed.question.empty());
    CHECK(malformed.whole);
}

TEST_CASE("message: an answer is believed that has the id and the question") {
    Bytes asked = request({.name = "Host.example"});
    Bytes answer = write_answer(asked, parsed(asked), many(1), 512);
    CHECK(answers(answer, asked, 0x1234));
    CHECK(!answers(answer, asked, 0x1235));
    CHECK(!answers(asked, asked, 0x1234));
    CHECK(!answers(View{answer}.first(11), asked, 0x1234));
    Bytes lower = request({.name = "host.example"});
    CHECK(answers(write_answer(lower, parsed(lower), many(1), 512), asked, 0x1234));
    for (const Asked& other : {Asked{.name = "host.exampl"}, Asked{.name = "host.examplf"},
                               Asked{.name = "host.example", .type = type_aaaa}}) {
        Bytes bytes = request(other);
        CHECK(!answers(write_answer(bytes, parsed(bytes), {}, 512), asked, 0x1234));
    }
    Bytes header = write_error(request({.name = "x", .flags = 0x28}), Rcode::malformed);
    header[2] &= 0x87;
    CHECK(answers(header, asked, 0x1234));
    header[3] &= 0xf0;
    CHECK(!answers(header, asked, 0x1234));
}

TEST_CASE("message: a foreign answer gets the client's id and no authority, and is cut to what the client takes") {
    Bytes asked = request({.name = "a.b", .id = 0x7777});
    Bytes upstream = request({.name = "a.b", .id = 1});
    Bytes foreign = write_answer(upstream, parsed(upstream), many(60), longest_message);
    Bytes fits = foreign;
    make_own(fits, asked, foreign.size());
    CHECK(id_of(fits) == 0x7777);
    CHECK(!Reading{fits}.authoritative);
    CHECK(Reading{fits}.records.size() == 60);
    Bytes cut = foreign;
    make_own(cut, asked, 512);
    CHECK(cut.size() <= 512);
    CHECK(Reading{cut}.truncated);
    CHECK(Reading{cut}.question == "a.b");
    CHECK(Reading{cut}.whole);
}

TEST_CASE("message: types have names") {
    CHECK(type_name(type_a) == "A");
    CHECK(type_name(type_aaaa) == "AAAA");
    CHECK(type_name(65) == "HTTPS");
    CHECK(type_name(12345) == "Unknown");
}

}
