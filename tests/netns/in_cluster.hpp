// SPDX-License-Identifier: Apache-2.0
// What cases about a cluster say to its istiod and to a world under one.
#pragma once
#include <string>

#include <fmt/format.h>

#include "policies.hpp"
#include "world.hpp"

namespace culvert::test {

inline World& cluster() {
    return World::shared("in a cluster", {}, true);
}

// An Authorization of namespace ns, one rule with one match; `match` is JSON's inside of braces.
inline std::string authorization(const std::string& name, const std::string& scope, const std::string& action,
                                 const std::string& match) {
    return fmt::format(R"({{"name": "{}", "namespace": "ns", "scope": "{}", "action": "{}", )"
                       R"("rules": [{{"clauses": [{{"matches": [{{{}}}]}}]}}]}})",
                       name, scope, action, match);
}

inline const std::string from_client = R"("principals": [{"exact": "cluster.local/ns/ns/sa/client"}])";
inline const std::string no_client = authorization("no-client", "NAMESPACE", "DENY", from_client);

inline void put(World& world, const std::string& policy) {
    world.cluster->istiod.order(R"({"do": "put", "authorizations": [)" + policy + "]}");
}
inline void take_away(World& world, const std::string& name) {
    world.cluster->istiod.order(R"({"do": "remove", "names": [")" + name + R"("]})");
}
// The orders without more to them: away, back, ...
inline void order(World& world, const std::string& what, const std::string& more = {}) {
    world.cluster->istiod.order(R"({"do": ")" + what + "\"" + (more.empty() ? "" : ", " + more) + "}");
}

}
