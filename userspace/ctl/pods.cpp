// SPDX-License-Identifier: Apache-2.0
// culvertctl pods
#include "commands.hpp"
#include "figures.hpp"
#include "table.hpp"

namespace culvert::ctl {
namespace {

namespace json = boost::json;

base::Result<json::value> ask(const Client& client, const Options& options) {
    auto answer = client.get("/pods");
    if (!answer || options.pod.empty()) return answer;
    json::array of_that_name;
    for (const auto& pod : list_at(*answer, "pods"))
        if (is_called(pod, options.pod)) of_that_name.push_back(pod);
    if (of_that_name.empty()) return base::problem("no pod of this node is called " + options.pod);
    answer->as_object()["pods"] = std::move(of_that_name);
    return answer;
}

std::string certificate(const json::value& pod) {
    auto expires = text_at(pod, "certificate_expires");
    return expires.empty() ? "none" : time_until(expires, std::chrono::system_clock::now());
}

bool excludes(const json::value& pod) {
    bool some = false;
    for (auto kind : {"outbound_ports", "outbound_cidrs", "inbound_ports"})
        some = some || !list_at(pod, std::string{"exclude."} + kind).empty();
    return some;
}

std::string show(const json::value& answer, const Options&, const Screen& screen) {
    using enum Column::Align;
    Table table{{{"POD"},
                 {"STATE"},
                 {"IDENTITY", left, 20},
                 {"CERTIFICATE ENDS"},
                 {"LISTENERS", right},
                 {"CONNECTIONS", right},
                 {"NETNS", left, 12}}};
    std::string reasons, exclusions;
    for (const auto& pod : list_at(answer, "pods")) {
        auto name = text_at(pod, "namespace") + "/" + text_at(pod, "name");
        table.add({name, text_at(pod, "state"), short_identity(text_at(pod, "identity")), certificate(pod),
                   count_at(pod, "listeners"), count_at(pod, "connections"), text_at(pod, "netns")});
        if (auto why = text_at(pod, "why"); !why.empty()) reasons += why + "\n";
        if (auto port = count_at(pod, "only_port"); number_at(pod, "only_port") > 0)
            exclusions += name + ": the daemon's own pod: port " + port + " can be reached by tunnels, nothing else\n";
        if (excludes(pod)) exclusions += name + ": " + text_at(pod, "exclude.text") + "\n";
    }
    if (table.empty()) return "this node has no pods in the mesh\n";
    return table.text(screen) + exclusions + reasons;
}

}

const Command pods_command{.name = "pods",
                           .summary = "the pods of this node: identity, certificate, state, what bypasses the mesh",
                           .options = {&option::pod, &option::watch, &option::interval},
                           .ask = ask,
                           .show = show};

}
