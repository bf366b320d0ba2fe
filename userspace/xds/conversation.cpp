// SPDX-License-Identifier: Apache-2.0
#include <culvert/xds/conversation.hpp>

#include <fmt/format.h>
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <type_traits>

#include "decode.hpp"
#include "discovery.pb.h"
#include "requests.hpp"
#include "stand_in.hpp"

namespace culvert::xds {

namespace discovery = envoy::service::discovery::v3;

namespace {

std::optional<Kind> kind_of(std::string_view type) {
    for (Kind kind : {Kind::address, Kind::authorization})
        if (type == type_url(kind)) return kind;
    return std::nullopt;
}

// The library's own words about messages that it cannot read would go to stderr, beside our log; we have ours.
void silence_library() {
    [[maybe_unused]] static const auto before = google::protobuf::SetLogHandler(nullptr);
}

base::Result<Resource> read(Kind kind, const discovery::Resource& from) {
    if (!from.has_resource()) return base::problem("it comes without a value");
    if (from.resource().type_url() != type_url(kind))
        return base::problem(
            fmt::format("it is a {}, among resources of {}", from.resource().type_url(), type_url(kind)));
    return decode(kind, from.name(), from.resource().value());
}

}

std::string_view type_url(Kind kind) noexcept {
    return kind == Kind::address ? "type.googleapis.com/istio.workload.Address"
                                 : "type.googleapis.com/istio.security.Authorization";
}

std::string_view to_string(Kind kind) noexcept {
    return kind == Kind::address ? "Address" : "Authorization";
}

std::string name_of(const Resource& resource) {
    return std::visit(
        [](const auto& value) -> std::string {
            using T = std::decay_t<decltype(value)>;
            if constexpr (std::is_same_v<T, state::Workload>)
                return value.uid;
            else if constexpr (std::is_same_v<T, state::Service>)
                return value.key().to_string();
            else
                return value.key();
        },
        resource);
}

class Conversation::Hearing {
public:
    Hearing(Conversation& all, Kind kind, Heard& heard)
        : all_{all}, versions_{all.versions_[index(kind)]}, kind_{kind}, heard_{heard} {}

    void take(const discovery::Resource& from) {
        auto resource = read(kind_, from);
        if (resource && full(from.name()))
            resource =
                base::problem(fmt::format("more than {} {} resources", all_.limits_.resources, to_string(kind_)));
        const bool taken = resource.has_value();
        if (taken) {
            versions_.insert_or_assign(from.name(), from.version());
            all_.stand_ins_.erase(from.name());
            heard_.changed.push_back(std::move(*resource));
        } else {
            if (kind_ == Kind::authorization && !versions_.contains(from.name())) stand_in_for(from);
            heard_.refused.push_back({from.name(), resource.error().doing});
        }
        answer(from.name(), taken);
        // A question by address is answered under the uid.
        for (const std::string& alias : from.aliases()) answer(alias, taken);
    }

    // istiod also removes what it never told of, and so answers questions for what does not exist.
    void forget(const std::string& name) {
        answer(name, false);
        const bool stood_in = kind_ == Kind::authorization && all_.stand_ins_.erase(name) > 0;
        if (versions_.erase(name) > 0 || stood_in) heard_.removed.push_back(name);
    }

private:
    void stand_in_for(const discovery::Resource& from) {
        auto& names = all_.stand_ins_;
        if (names.size() >= all_.limits_.resources && !names.contains(from.name())) return;
        auto made = stand_in(from.name(), from.resource().value(), all_.node_.root_namespace);
        if (!made) return;
        names.insert(from.name());
        heard_.changed.push_back(std::move(*made));
    }
    bool full(const std::string& name) const {
        return versions_.size() >= all_.limits_.resources && !versions_.contains(name);
    }
    void answer(const std::string& name, bool found) {
        if (kind_ == Kind::address && all_.waiting_.erase(name) > 0) heard_.answers.push_back({name, found});
    }

    Conversation& all_;
    std::map<std::string, std::string>& versions_;
    Kind kind_;
    Heard& heard_;
};

Conversation::Conversation(Node node, Interest interest, Limits limits)
    : node_{std::move(node)}, interest_{interest}, limits_{limits} {
    silence_library();
}

std::vector<std::string> Conversation::begin() {
    std::vector<std::string> requests;
    // In this order istiod answers, and so its Addresses come before the Authorizations that they name.
    for (Kind kind : {Kind::address, Kind::authorization}) {
        auto versions = versions_[index(kind)];
        // Without a version they are told of again; unnamed, istiod would not say that they are gone.
        if (kind == Kind::authorization)
            for (const std::string& name : stand_ins_) versions.emplace(name, "");
        requests.push_back(first_request(node_, kind, interest_, versions));
    }
    if (!waiting_.empty()) requests.push_back(subscribe(waiting_));
    return requests;
}

base::Result<Heard> Conversation::hear(std::string_view bytes) {
    if (bytes.size() > limits_.response_bytes)
        return base::problem(fmt::format("a response of the control plane has {} bytes, more than {}", bytes.size(),
                                         limits_.response_bytes));
    discovery::DeltaDiscoveryResponse response;
    if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
        return base::problem("a response of the control plane is no DeltaDiscoveryResponse");
    if (response.nonce().empty()) return base::problem("a response of the control plane has no nonce to answer to");

    Heard heard;
    if (auto kind = kind_of(response.type_url())) {
        told_[index(*kind)] = true;
        heard.kind = *kind;
        heard.resources = static_cast<std::size_t>(response.resources_size());
        Hearing hearing{*this, *kind, heard};
        for (const discovery::Resource& resource : response.resources()) hearing.take(resource);
        for (const std::string& name : response.removed_resources()) hearing.forget(name);
    } else {
        heard.refused.push_back({response.type_url(), "this was not asked for"});
    }
    heard.request = acknowledge(response.type_url(), response.nonce(), heard.refused);
    return heard;
}

Question Conversation::ask(const std::string& name) {
    using enum Question::State;
    if (interest_ == Interest::everything || versions_[index(Kind::address)].contains(name)) return {held, {}};
    if (waiting_.contains(name)) return {waiting, {}};
    if (waiting_.size() >= limits_.questions) return {refused, {}};
    waiting_.insert(name);
    return {sent, subscribe({name})};
}

std::optional<std::string> Conversation::settle(const std::string& name) const {
    if (versions_[index(Kind::address)].contains(name) || waiting_.contains(name)) return std::nullopt;
    return unsubscribe(name);
}

std::optional<std::string> Conversation::give_up(const std::string& name) {
    if (waiting_.erase(name) == 0) return std::nullopt;
    return unsubscribe(name);
}

bool Conversation::ready() const noexcept {
    const bool addresses = told_[index(Kind::address)] || interest_ == Interest::on_demand;
    return addresses && told_[index(Kind::authorization)];
}

}
