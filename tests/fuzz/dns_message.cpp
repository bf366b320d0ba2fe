// SPDX-License-Identifier: Apache-2.0
// DNS messages: requests from pods, which may be anything, and answers from servers that a pod may speak for.
#include <culvert/dns/message.hpp>

#include <algorithm>

#include "input.hpp"
#include "require.hpp"

using namespace culvert;
using dns::Bytes;
using dns::View;
using fuzz::require;

namespace {

constexpr std::size_t header = 12;

void check_own(View request, View answer, std::size_t most) {
    require(answer.size() <= most, "an answer is no longer than allowed");
    require(dns::id_of(answer) == dns::id_of(request), "an answer has the request's id");
    require(std::holds_alternative<std::monostate>(dns::parse_query(answer)), "an answer is not taken for a request");
}

void check_request(View request, std::size_t most, unsigned addresses, unsigned labels) {
    auto parsed = dns::parse_query(request);
    if (std::holds_alternative<std::monostate>(parsed)) return;
    if (const auto* refused = std::get_if<dns::Rcode>(&parsed)) {
        check_own(request, dns::write_error(request, *refused), header);
        return;
    }
    const auto& query = std::get<dns::Query>(parsed);
    require(query.question_end <= request.size(), "a question is within its message");
    require(query.name.size() < 255, "a name is no longer than names are");
    require(query.name.find('\0') == std::string::npos, "odd names are none");
    check_own(request, dns::write_error(request, dns::Rcode::failed), 512);
    if (!query.asks_for_addresses()) return;
    dns::Answer answer{std::vector<base::IpAddress>(addresses), labels};
    Bytes written = dns::write_answer(request, query, answer, most);
    check_own(request, written, most);
    require(dns::answers(written, request, dns::id_of(request)), "an answer is one to its request");
    bool whole = dns::write_answer(request, query, answer, dns::longest_message).size() <= most;
    require(dns::is_truncated(written) != whole, "what is left out is said");
}

void check_answer(View answer) {
    // "a.b", by somebody whose id is 1.
    const Bytes request{0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 1, 'b', 0, 0, 1, 0, 1};
    if (!dns::answers(answer, request, dns::id_of(request))) return;
    for (std::size_t most : {std::size_t{512}, dns::longest_message}) {
        Bytes own(answer.begin(), answer.end());
        dns::make_own(own, request, most);
        require(own.size() <= std::max(most, std::size_t{512}), "a foreign answer is cut to what was asked for");
        require(dns::id_of(own) == dns::id_of(request), "a foreign answer gets the request's id");
        require(own.size() == answer.size() || dns::is_truncated(own), "a cut is said");
    }
    (void)dns::is_failure(answer);
}

}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input{data, size};
    std::size_t most = 512 + input.number(2) % 4096;
    unsigned addresses = input.number(1), labels = input.number(1);
    auto rest = input.take(size);
    check_request(rest, most, addresses, labels);
    check_answer(rest);
    return 0;
}
