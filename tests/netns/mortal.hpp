// SPDX-License-Identifier: Apache-2.0
// A pod that is going to end, and what a daemon keeps for its pods.
#pragma once
#include <filesystem>

#include "kernel_traces.hpp"
#include "outcome.hpp"
#include "process.hpp"
#include "world.hpp"

namespace culvert::test {

// With a second cable to its node: that goes when the kernel lets go of the netns, and not as long as anybody holds it,
// be it by a socket or a link.
class Mortal {
public:
    explicit Mortal(World& world) : pod{world.lab.add_pod("mortal", 1, 50)}, world_{world} {
        world.describe(pod);
        world.join(pod);
        watch();
    }
    void watch() {
        must({"ip", "link", "add", "watch", "type", "veth", "peer", "name", "watched", "netns", pod.netns_path()},
             world_.lab.node_netns(1));
    }
    // Its apps' connections, and ours to them, have ended for good. A FIN that is not acknowledged before the cable
    // goes never will be: the kernel then keeps the orphan for minutes, and the netns with it, also where nothing is
    // captured.
    bool is_quiet() const {
        return eventually(10s, [this] {
            return must({"ss", "-Htn", "state", "connected", "exclude", "time-wait", "exclude", "fin-wait-2",
                         "not sport = 15008 and not dport = 15008"},
                        pod.netns()) == "";
        });
    }
    // Its netns, and all that there was in it.
    bool is_gone() const {
        const int node = world_.lab.node_netns(1);
        return eventually(20s, [&] { return run({"ip", "link", "show", "watch"}, node).status != 0; });
    }

    Pod& pod;

private:
    World& world_;
};

// Rows of maps and folders of pins.
inline std::size_t entries(const Node& node) {
    if (capture_mode() != "ebpf") return 0;
    const std::string dump = dump_map(node, "cv_pods") + dump_map(node, "cv_own_ips") + dump_map(node, "cv_pod_ips");
    std::size_t count = 0;
    for (std::size_t at = 0; (at = dump.find("\"key\"", at)) != std::string::npos; ++at) ++count;
    std::filesystem::directory_iterator pods{pin_folder(node) + "/pods"};
    return count + static_cast<std::size_t>(std::distance(begin(pods), end(pods)));
}

}
