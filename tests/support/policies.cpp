// SPDX-License-Identifier: Apache-2.0
#include "policies.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <system_error>
#include <utility>

namespace culvert::test {

std::string policy_line(const std::string& name, const std::string& scope, const std::string& action,
                        const std::string& rules, bool dry_run) {
    return "- {name: " + name + ", namespace: ns, scope: " + scope + ", action: " + action +
           ", dryRun: " + (dry_run ? "true" : "false") + ", rules: " + rules + "}\n";
}

namespace {

// In the workload's own line; the pod's begins the same.
void name_in(std::string& yaml, const Pod& pod, const std::string& named) {
    const std::string start = "- {uid: \"" + Mesh::uid(pod) + "\", ";
    const auto line = yaml.find(start, yaml.find("workloads:"));
    if (line == std::string::npos) throw std::logic_error("no workload for pod " + pod.name());
    yaml.insert(line + start.size(), "authorizationPolicies: [" + named + "], ");
}

}

Policies::~Policies() {
    try {
        unknown_.clear();
        publish("");
    } catch (const std::exception&) {  // the daemon is gone, which its case has told of
    }
}

void Policies::publish(const std::string& policies, const std::string& named, const Pod* by) {
    const std::string fresh = policies + named + (by ? by->name() : "") + unknown_;
    if (fresh == std::exchange(in_force_, fresh)) return;  // which no daemon would say it has applied
    Node* const nodes[] = {&world_.one, &world_.two};
    for (Node* node : nodes) {
        std::string yaml = world_.mesh.yaml(node->number());
        if (by) name_in(yaml, *by, named);
        yaml += policies.empty() ? "policies: []\n" : "policies:\n" + policies;
        if (!unknown_.empty()) yaml += "unknownPolicy: " + unknown_ + "\n";
        node->configure(yaml);
    }
    for (Node* node : nodes)
        if (!node->says({"applied"})) throw std::runtime_error("the policies were not applied");
}

std::string answer(World& world, const Pod& from, const Pod& to, std::uint16_t port) {
    world.mark();
    try {
        Connection app = from.dial(to.at(Family::v4, port));
        if (app.echoes("may I?")) return "yes";
    } catch (const std::system_error&) {
    }
    std::string refusal = "nobody says why";
    eventually(5s, [&] {
        for (const auto& line : world.node_of(to).access_log().since_mark())
            if (line["direction"] == "inbound" && line["error"] != "") refusal = line["error"];
        return refusal != "nobody says why";
    });
    return refusal;
}

void check_answer(World& world, const Pod& from, const Pod& to, std::uint16_t port, const std::string& wanted) {
    CAPTURE(from.name());
    CAPTURE(to.name());
    CAPTURE(port);
    std::string got;
    eventually(5s, [&] { return (got = answer(world, from, to, port)) == wanted; });
    CHECK(got == wanted);
}

}
