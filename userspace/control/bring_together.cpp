// SPDX-License-Identifier: Apache-2.0
// What the parts of one file say of each other.
#include <map>
#include <set>

#include <fmt/format.h>

#include "schema.hpp"

namespace culvert::control {

using state::NamespacedHostname;
using state::Service;
using state::Workload;
using yaml::Cursor;

namespace {

constexpr std::size_t most_uids_shown = 8;
// ztunnel skips the name of a policy that it does not have, and lets the traffic through.
constexpr std::string_view no_such_policy =
    "no policy of this file has this namespace and name, and there is no unknownPolicy: deny or allow";
constexpr std::string_view no_such_service = "no service of this file has this namespace and host name";

// Remembers who came first.
class Unique {
public:
    explicit Unique(std::string what) : what_{std::move(what)} {}
    void add(const std::string& value, const Cursor& at) {
        auto [first, is_new] = lines_.emplace(value, at.line());
        if (!is_new)
            at.refuse(fmt::format("found {}, which {} on line {} has already; each has its own", yaml::quoted(value),
                                  what_, first->second));
    }

private:
    std::string what_;
    std::map<std::string, int> lines_;
};

struct Index {
    std::map<std::string, std::size_t> workloads;  // by uid
    std::map<NamespacedHostname, std::size_t> services;
    std::set<std::string> policies;  // namespace/name
};

Index index_of(const Draft& draft) {
    Index index;
    Unique uids{"the workload"};
    for (std::size_t i = 0; i < draft.workloads.size(); ++i) {
        const Workload& workload = draft.config.workloads[i];
        uids.add(workload.uid, draft.workloads[i].at("uid"));
        index.workloads.emplace(workload.uid, i);
    }
    Unique keys{"the service"};
    for (std::size_t i = 0; i < draft.services.size(); ++i) {
        NamespacedHostname key = draft.config.services[i].key();
        keys.add(key.to_string(), draft.services[i]);
        index.services.emplace(std::move(key), i);
    }
    Unique names{"the policy"};
    for (std::size_t i = 0; i < draft.policies.size(); ++i) {
        std::string key = draft.config.policies[i].key();
        names.add(key, draft.policies[i]);
        index.policies.insert(std::move(key));
    }
    return index;
}

void check_policies(const Cursor& names, const Index& index) {
    names.items([&](const Cursor& name) {
        if (!index.policies.contains(name.text())) name.refuse(no_such_policy);
    });
}

// A name that leads nowhere is a misspelling, and would show up as "no healthy upstream" much later.
void check_references(const Draft& draft, const Index& index) {
    for (std::size_t i = 0; i < draft.workloads.size(); ++i)
        for (const auto& [key, ports] : draft.config.workloads[i].services)
            if (!index.services.contains(key))
                draft.workloads[i].at("services").at(key.to_string()).refuse(no_such_service);
    for (std::size_t i = 0; i < draft.workloads.size(); ++i)
        if (!draft.config.unknown_policy && !draft.config.workloads[i].authorization_policies.empty())
            check_policies(draft.workloads[i].at("authorizationPolicies"), index);
    for (std::size_t i = 0; i < draft.services.size(); ++i)
        for (const auto& [uid, endpoint] : draft.config.services[i].endpoints)
            if (!index.workloads.contains(uid))
                draft.services[i].at("endpoints").at(uid).refuse("no workload of this file has this uid");
}

std::string some_uids(const std::vector<Workload>& workloads) {
    if (workloads.empty()) return "there is none";
    std::string list;
    for (std::size_t i = 0; i < workloads.size() && i < most_uids_shown; ++i)
        list += (i == 0 ? "there are " : ", ") + yaml::quoted(workloads[i].uid);
    if (workloads.size() > most_uids_shown) list += fmt::format(" and {} more", workloads.size() - most_uids_shown);
    return list;
}

void same(const Cursor& at, const std::string& of_pod, const std::string& of_workload, const Cursor& workload) {
    if (of_pod != of_workload)
        at.refuse(fmt::format("found {}, but the workload on line {} has {}; make them the same", yaml::quoted(of_pod),
                              workload.line(), yaml::quoted(of_workload)));
}

void join_pods(Draft& draft, const Index& index) {
    Unique uids{"the pod"};
    Unique paths{"the pod"};
    for (std::size_t i = 0; i < draft.pods.size(); ++i) {
        Pod& pod = draft.config.pods[i];
        const Cursor& at = draft.pods[i];
        uids.add(pod.uid, at.at("uid"));
        paths.add(pod.netns, at.at("netns"));
        auto found = index.workloads.find(pod.uid);
        if (found == index.workloads.end())
            at.at("uid").refuse(
                fmt::format("found {} of pod {}, expected the uid of a workload: {}; add a workload "
                            "with this uid or remove the pod",
                            yaml::quoted(pod.uid), yaml::quoted(pod.name), some_uids(draft.config.workloads)));
        const Workload& workload = draft.config.workloads[found->second];
        const Cursor& place = draft.workloads[found->second];
        same(at.at("namespace"), pod.identity.namespace_, workload.namespace_, place);
        same(at.at("serviceAccount"), pod.identity.service_account, workload.service_account, place);
        pod.identity.trust_domain = workload.trust_domain;
        add_exclusions(pod.exclude, draft.exclude, at.at("exclude"));
        if (pod.dns.value_or(false) && !draft.config.dns.on)
            at.at("dns").refuse("found true, but the node has no dns: true; say it there, and false for other pods");
    }
}

}

void bring_together(Draft& draft) {
    for (Workload& workload : draft.config.workloads) {
        if (workload.trust_domain.empty()) workload.trust_domain = draft.config.node.trust_domain;
        if (workload.cluster_id.empty()) workload.cluster_id = draft.config.node.cluster_id;
    }
    Index index = index_of(draft);
    check_references(draft, index);
    join_pods(draft, index);
}

}
