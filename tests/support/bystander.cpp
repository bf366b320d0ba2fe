// SPDX-License-Identifier: Apache-2.0
#include "bystander.hpp"

#include <algorithm>
#include <filesystem>
#include <iterator>

#include <doctest/doctest.h>

namespace culvert::test {
namespace {

// Between the node's own pods, which stay warm.
constexpr std::size_t warm_tunnels = 32;

// What was freed is kept for a while, so that who still uses it is found: 256 MiB by default, and what is known of
// each.
constexpr double sanitizers_keep_mib = 400;

bool sanitized() {
    static const bool is = run({culvertd(), "--version"}).text.find("sanitizer") != std::string::npos;
    return is;
}

double sample(const Samples& samples, const std::string& name) {
    auto found = samples.find(name);
    return found == samples.end() ? 0 : found->second;
}

std::string fault_metric(const std::string& fault) {
    return "culvert_proxy_peer_faults_total{fault=\"" + fault + "\"}";
}

}

std::size_t descriptors(const Node& node) {
    std::filesystem::directory_iterator fds{"/proc/" + std::to_string(node.pid()) + "/fd"};
    return static_cast<std::size_t>(std::distance(begin(fds), end(fds)));
}

bool logged(Node& node, const std::string& words) {
    return eventually(10s, [&] {
        const auto lines = node.access_log().since_mark();
        return std::ranges::any_of(
            lines, [&](const AccessLine& line) { return line["error"].find(words) != std::string::npos; });
    });
}

Bystander::Bystander(World& world, double slack_mib)
    : world_{world},
      echo_{world.near.netns(), 8080, apps::echo},
      load_{world.client, world.near.at(Family::v4, 8080), "in good faith"},
      kept_{world.client.dial(world.near.at(Family::v4, 8080))},
      slack_mib_{slack_mib} {
    CHECK(kept_.echoes("before"));
    CHECK(load_.goes_on());
    world.mark();
    before_ = world.one.metrics();
    descriptors_ = descriptors(world.one);
    resident_ = world.one.resident_bytes();
}

double Bystander::rise(const std::string& name) const {
    return sample(world_.one.metrics(), name) - sample(before_, name);
}

void Bystander::check_faults(const std::string& fault, double count) const {
    eventually(5s, [&] { return rise(fault_metric(fault)) >= count; });
    CHECK_MESSAGE(rise(fault_metric(fault)) == count, fault);
}

void Bystander::check() {
    CHECK(load_.goes_on());
    CHECK(kept_.echoes("and still"));
    load_.stop();
    check_quietly();
}

void Bystander::check_quietly() {
    kept_.close();
    CHECK_MESSAGE(load_.failed() == 0, load_.first_failure());
    CHECK(eventually(10s, [&] { return sample(world_.one.metrics(), "culvert_proxy_connections_open") == 0; }));
    CHECK_MESSAGE(eventually(10s, [&] { return descriptors(world_.one) <= descriptors_ + warm_tunnels; }),
                  descriptors(world_.one) << " descriptors, before: " << descriptors_);
    const double tunnels = sample(before_, "culvert_proxy_tunnels_in_open");
    CHECK_MESSAGE(
        eventually(5s, [&] { return sample(world_.one.metrics(), "culvert_proxy_tunnels_in_open") <= tunnels + 8; }),
        sample(world_.one.metrics(), "culvert_proxy_tunnels_in_open") << " tunnels, before: " << tunnels);
    CHECK(eventually(5s, [&] {
        return sample(world_.one.metrics(), "culvert_map_entries{map=\"cv_flows\"}") <=
               sample(before_, "culvert_map_entries{map=\"cv_flows\"}");
    }));
    const double grown = (static_cast<double>(world_.one.resident_bytes()) - static_cast<double>(resident_)) / 1048576;
    CHECK(grown < slack_mib_ + (sanitized() ? sanitizers_keep_mib : 0));
}

}
