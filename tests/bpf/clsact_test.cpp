// SPDX-License-Identifier: Apache-2.0
// The guard on kernels without TCX, tried on one that has it.
#include "daemon.hpp"

#include <capture/guard.hpp>
#include <capture/pins.hpp>

namespace culvert::test {

TEST_SUITE("clsact") {

TEST_CASE("clsact: the guard is put on both ways, comes back when it was taken off, and goes") {
    on_node([](Namespaces& where) {
        std::string pins = "/sys/fs/bpf/" + fresh_instance();
        REQUIRE(capture::make_directory(pins).has_value());
        auto node = capture::Programs::load(capture::Programs::Node{1, 1, 8, 8}, [](const char*) { return Fd{}; });
        REQUIRE(node.has_value());
        auto pod = capture::Programs::load(capture::Programs::Pod{2, 1}, *node);
        REQUIRE(pod.has_value());
        const std::string filters = "tc -n $POD filter show dev eth0 ingress; tc -n $POD filter show dev eth0 egress";
        capture::Guards guards;
        auto guard = [&] {
            auto taken_off = base::in_netns(where.pod(), [&]() -> base::Result<unsigned> {
                auto netlink = capture::Rtnetlink::open();
                auto interfaces = netlink->interfaces();
                std::erase_if(*interfaces, [](const auto& one) { return one.name != "eth0"; });
                CHECK(interfaces->size() == 1);
                return guards.put(*pod, pins, *interfaces, *interfaces, capture::GuardHook::clsact);
            });
            REQUIRE(taken_off.has_value());
            return *taken_off;
        };
        auto has_both = [&] {
            std::string text = where.run(filters);
            return text.find("cv_in_guard") != std::string::npos && text.find("cv_out_guard") != std::string::npos;
        };
        CHECK(guard() == 0);
        CHECK(has_both());
        // Again, and nobody who listens for changes hears of it: capture listens, and would never rest.
        auto changes = base::in_netns(where.pod(), capture::open_change_socket);
        CHECK(guard() == 0);
        CHECK(has_both());
        char change[4096];
        CHECK(::recv(changes->get(), change, sizeof change, 0) == -1);
        where.run("tc -n $POD qdisc del dev eth0 clsact");
        CHECK(!has_both());
        CHECK(guard() == 1);
        CHECK(has_both());
        CHECK(base::in_netns(where.pod(), [&] { capture::remove_guards(pins); }).has_value());
        CHECK(where.run(filters) == "");
        CHECK(where.run("ls " + pins) == "");
        capture::remove_tree(pins);
    });
}

}

}
