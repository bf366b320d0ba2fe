// SPDX-License-Identifier: Apache-2.0
// `baggage` and `forwarded`: made of the names in a configuration, read by peers of any make, as theirs are by us.
// A strict reader must find in them what went in, and nothing else.
#include <proxy/headers.hpp>

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <map>

#include "input.hpp"
#include "require.hpp"

using namespace culvert;
using fuzz::require;

namespace {

bool fits_a_header(const std::string& value) {
    return nghttp2_check_header_value(reinterpret_cast<const std::uint8_t*>(value.data()), value.size()) != 0;
}

// key=value, separated by commas; a key twice or a part without a value is wrong.
std::map<std::string, std::string> read_baggage(const std::string& text) {
    std::map<std::string, std::string> parts;
    for (std::size_t at = 0; at < text.size();) {
        std::size_t end = std::min(text.find(',', at), text.size());
        std::string part = text.substr(at, end - at);
        std::size_t equals = part.find('=');
        require(equals != std::string::npos && equals > 0 && equals + 1 < part.size(), "key=value: " + text);
        require(parts.emplace(part.substr(0, equals), part.substr(equals + 1)).second, "a key once: " + text);
        at = end + 1;
    }
    return parts;
}

void check_baggage(fuzz::Input& input) {
    state::Workload workload;
    std::string* fields[] = {&workload.cluster_id,      &workload.namespace_,     &workload.workload_name,
                             &workload.workload_type,   &workload.canonical_name, &workload.canonical_revision,
                             &workload.locality.region, &workload.locality.zone};
    for (std::string* field : fields) *field = input.text_until('\n');
    std::string value = proxy::baggage_of(workload);
    require(fits_a_header(value), "baggage is a header's value");
    auto parts = read_baggage(value);
    auto is = [&](const char* key, const std::string& field) {
        auto part = parts.find(key);
        if (part != parts.end()) require(part->second == field, std::string{key} + " is what was configured: " + value);
    };
    is("k8s.cluster.name", workload.cluster_id);
    is("k8s.namespace.name", workload.namespace_);
    is("service.name", workload.canonical_name);
    is("service.version", workload.canonical_revision);
    is("cloud.region", workload.locality.region);
    is("cloud.availability_zone", workload.locality.zone);
    auto read = proxy::workload_in(value);
    if (read) require(proxy::baggage_of(*read) == value, "we read what we wrote: " + value);
    (void)proxy::workload_in(input.rest());
}

void check_forwarded(fuzz::Input& input) {
    base::SocketAddress client;
    auto ip = input.take(16);
    std::copy(ip.begin(), ip.end(), client.ip.bytes.begin());
    client.port = static_cast<std::uint16_t>(input.number(2));
    state::Service service;
    service.hostname = input.rest();
    require(proxy::host_in(service.hostname).size() <= service.hostname.size(), "what is named is in the header");
    std::string value = proxy::forwarded_for(client, service.hostname.empty() ? nullptr : &service);
    require(fits_a_header(value), "forwarded is a header's value");
    constexpr std::string_view begin = "for=\"";
    require(value.starts_with(begin), "for= comes first: " + value);
    std::size_t end = value.find('"', begin.size());
    require(end != std::string::npos, "the address is quoted: " + value);
    require(base::SocketAddress::parse(value.substr(begin.size(), end - begin.size())) == client,
            "the address is the client's: " + value);
    std::string after = value.substr(end + 1);
    require(after.empty() ? proxy::host_in(value).empty() : proxy::host_in(value) == service.hostname,
            "we read what we wrote: " + value);
    if (after.empty()) return;
    require(after.starts_with(";host="), "host= follows: " + value);
    require(after.find_first_of(";,\" ", 6) == std::string::npos, "the host ends the value: " + value);
}

}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input{data, size};
    if (input.number(1) % 2 == 0)
        check_baggage(input);
    else
        check_forwarded(input);
    return 0;
}
