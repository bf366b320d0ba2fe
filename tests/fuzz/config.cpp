// SPDX-License-Identifier: Apache-2.0
// The YAML of a node. Whatever the text: a configuration that keeps its promises, or one line that says where it is
// wrong.
#include <culvert/control/config.hpp>

#include <algorithm>
#include <set>

#include "require.hpp"

using namespace culvert;
using fuzz::require;

namespace {

void check_refusal(const std::string& words) {
    require(words.starts_with("node.yaml:"), "a refusal begins with its place: " + words);
    auto odd = [](unsigned char c) { return c < ' ' || c == 0x7f; };
    require(std::none_of(words.begin(), words.end(), odd), "a refusal is one printable line: " + words);
}

void check_config(const control::Config& config) {
    require(config.pods.size() <= config.limits.max_pods, "limits.maxPods holds");
    require(config.shutdown_deadline.count() > 0 && config.ca.ttl.count() > 0, "durations are positive");
    std::set<std::string> known, pods;
    for (const auto& workload : config.workloads) {
        require(known.insert(workload.uid).second, "a workload's uid is its own: " + workload.uid);
        auto identity = workload.identity();
        require(state::Identity::parse(identity.to_string()) == identity,
                "an identity is read back from its name: " + identity.to_string());
    }
    for (const auto& pod : config.pods) {
        require(pods.insert(pod.uid).second, "a pod's uid is its own: " + pod.uid);
        require(known.contains(pod.uid), "a pod has a workload: " + pod.uid);
        require(!pod.netns.empty(), "a pod has a netns");
    }
}

}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    auto config = control::parse_config({reinterpret_cast<const char*>(data), size}, "node.yaml");
    if (config)
        check_config(*config);
    else
        check_refusal(config.error().to_string());
    return 0;
}
