// SPDX-License-Identifier: Apache-2.0
#include "requests.hpp"

#include <fmt/format.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "discovery.pb.h"

namespace culvert::xds {

namespace discovery = envoy::service::discovery::v3;

namespace {

// istiod logs the text and shows it in proxy-status.
constexpr std::size_t most_text = 4096;
constexpr std::size_t most_name = 256;

// Not in the middle of a character: the text has to be UTF-8.
std::string_view beginning(std::string_view text, std::size_t most) {
    if (text.size() <= most) return text;
    while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80) --most;
    return text.substr(0, most);
}

// "name: reason; name: reason", as ztunnel says it.
std::string text_of(const std::vector<Refusal>& refused) {
    std::string text;
    for (std::size_t i = 0; i < refused.size(); ++i) {
        if (text.size() > most_text) return text + fmt::format("; and {} more", refused.size() - i);
        text += i == 0 ? "" : "; ";
        text += beginning(refused[i].name, most_name);
        text += ": ";
        text += beginning(refused[i].reason, most_text);
    }
    return text;
}

// As deep as the parser lets values be: 32.
void put(const boost::json::value& from, culvert::wire::Value& into) {
    if (const auto* text = from.if_string()) {
        into.set_string_value(std::string{*text});
    } else if (const auto* flag = from.if_bool()) {
        into.set_bool_value(*flag);
    } else if (from.is_number()) {
        into.set_number_value(from.to_number<double>());
    } else if (const auto* list = from.if_array()) {
        auto& values = *into.mutable_list_value();
        for (const auto& each : *list) put(each, *values.add_values());
    } else if (const auto* object = from.if_object()) {
        auto& fields = *into.mutable_struct_value()->mutable_fields();
        for (const auto& [key, value] : *object) put(value, fields[std::string{key}]);
    } else {
        into.set_null_value(0);
    }
}

}

std::string first_request(const Node& node, Kind kind, Interest interest,
                          const std::map<std::string, std::string>& versions) {
    discovery::DeltaDiscoveryRequest request;
    request.mutable_node()->set_id(node.id);
    auto& metadata = *request.mutable_node()->mutable_metadata()->mutable_fields();
    for (const auto& [key, value] : node.metadata) metadata[key].set_string_value(value);
    for (const auto& [key, value] : node.structured) {
        boost::system::error_code bad;
        if (auto read = boost::json::parse(value, bad); !bad) put(read, metadata[key]);
    }
    request.set_type_url(std::string{type_url(kind)});
    if (interest == Interest::on_demand && kind == Kind::address) {
        // Nothing for now. Both are said on each stream: with versions alone istiod would tell of everything.
        request.add_resource_names_subscribe("*");
        request.add_resource_names_unsubscribe("*");
    }
    auto& held = *request.mutable_initial_resource_versions();
    for (const auto& [name, version] : versions) held[name] = version;
    return request.SerializeAsString();
}

std::string acknowledge(const std::string& type, const std::string& nonce, const std::vector<Refusal>& refused) {
    discovery::DeltaDiscoveryRequest request;
    request.set_type_url(type);
    request.set_response_nonce(nonce);
    if (!refused.empty()) request.mutable_error_detail()->set_message(text_of(refused));
    return request.SerializeAsString();
}

std::string subscribe(const std::set<std::string>& names) {
    discovery::DeltaDiscoveryRequest request;
    request.set_type_url(std::string{type_url(Kind::address)});
    for (const std::string& name : names) request.add_resource_names_subscribe(name);
    return request.SerializeAsString();
}

std::string unsubscribe(const std::string& name) {
    discovery::DeltaDiscoveryRequest request;
    request.set_type_url(std::string{type_url(Kind::address)});
    request.add_resource_names_unsubscribe(name);
    return request.SerializeAsString();
}

}
