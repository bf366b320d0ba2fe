// SPDX-License-Identifier: Apache-2.0
#include "stand_in.hpp"

#include "authorization.pb.h"

namespace culvert::xds {

namespace security = istio::security;

namespace {

// What istiod makes of a PeerAuthentication can refuse plaintext and nothing else, and is named by its workloads.
bool stands_for_peer_authentication(std::string_view name) {
    return name == "istio_converted_static_strict" || name.starts_with("converted_peer_authentication_");
}

policy::Rule plaintext() {
    policy::Match unnamed;
    unnamed.not_principals.push_back({policy::Form::presence, {}});
    return {{unnamed}};
}

}

std::optional<policy::Policy> stand_in(std::string_view name, std::string_view bytes, std::string_view root_namespace) {
    const std::size_t slash = name.find('/');
    if (slash == 0 || slash == name.npos || slash + 1 == name.size()) return std::nullopt;
    policy::Policy made;
    made.namespace_ = name.substr(0, slash);
    made.name = name.substr(slash + 1);
    made.action = policy::Action::deny;
    made.scope = made.namespace_ == root_namespace ? policy::Scope::global : policy::Scope::of_namespace;
    made.rules.push_back({});  // for all connections
    if (stands_for_peer_authentication(made.name)) {
        made.scope = policy::Scope::of_workloads;
        made.rules = {plaintext()};
        return made;
    }
    security::Authorization said;
    if (!said.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return made;
    made.dry_run = said.dry_run();
    switch (said.scope()) {
        case security::GLOBAL: made.scope = policy::Scope::global; break;
        case security::NAMESPACE: made.scope = policy::Scope::of_namespace; break;
        case security::WORKLOAD_SELECTOR: made.scope = policy::Scope::of_workloads; break;
        default: break;
    }
    return made;
}

}
