// SPDX-License-Identifier: Apache-2.0
#include "lab.hpp"

#include <unistd.h>

#include <atomic>
#include <stdexcept>

#include <culvert/base/netns.hpp>

#include "janitor.hpp"
#include "outcome.hpp"
#include "process.hpp"

namespace culvert::test {
namespace {

const std::string lab_script = CULVERT_SOURCE_DIR "/scripts/lab";

base::Fd open_namespace(const std::string& name) {
    auto netns = base::open_netns("/run/netns/" + name);
    if (!netns) throw std::runtime_error(netns.error().to_string());
    return std::move(*netns);
}

std::string fresh_name() {
    static std::atomic<int> count{0};
    return "t" + std::to_string(::getpid()) + "x" + std::to_string(++count);
}

}

std::string_view to_string(Family family) {
    return family == Family::v4 ? "IPv4" : "IPv6";
}

IpAddress Pod::ip(Family family) const {
    const std::string index = std::to_string(index_);
    const std::string node = std::to_string(node_);
    return *IpAddress::parse(family == Family::v4 ? "10.71." + node + "." + index : "fd71:0:0:" + node + "::" + index);
}

Attempt Pod::attempt(const SocketAddress& to, Milliseconds limit) const {
    return test::attempt(netns(), {.to = to, .from = {}, .limit = limit});
}

Lab::Lab(int nodes) : name_{fresh_name()} {
    folder_ = std::filesystem::temp_directory_path() / "culvert-tests" / name_;
    std::filesystem::create_directories(folder_);
    janitor::remember("run " + lab_script + " down " + name_);
    must({lab_script, "up", name_, "--nodes", std::to_string(nodes)});
    for (int node = 1; node <= nodes; ++node) nodes_.emplace(node, open_namespace(node_name(node)));
}

Lab::~Lab() {
    pods_.clear();
    nodes_.clear();
    const Output down = run({lab_script, "down", name_});
    janitor::forget("run " + lab_script + " down " + name_);
    if (down.status != 0) note_failure("lab " + name_ + " did not go: " + down.text);
    std::error_code ignored;
    if (!anything_failed()) std::filesystem::remove_all(folder_, ignored);
}

Pod& Lab::add_pod(const std::string& name, int node, int index) {
    auto pod = std::make_unique<Pod>();
    pod->name_ = name;
    pod->netns_name_ = name_ + "-" + name;
    pod->node_ = node;
    pod->index_ = index;
    make(*pod);
    return *pods_.emplace(name, std::move(pod)).first->second;
}

void Lab::make(Pod& pod) {
    must({lab_script, "pod", name_, std::to_string(pod.node_), pod.name_, std::to_string(pod.index_)});
    pod.netns_ = open_namespace(pod.netns_name_);
}

void Lab::end_pod(Pod& pod) {
    must({"ip", "link", "del", pod.host_link()}, node_netns(pod.node_));
    pod.netns_.reset();
    must({lab_script, "unpod", name_, pod.name_});
}

void Lab::remake_pod(Pod& pod) {
    end_pod(pod);
    make(pod);
}

void Lab::lose(const IpAddress& address, int node) {
    must({"ip", "neigh", "replace", address.to_string(), "lladdr", "02:00:00:00:00:99", "dev", "br0", "nud",
          "permanent"},
         node_netns(node));
}

// No error comes back to whoever sends, as when the far node loses power.
void Lab::pull_wire() {
    for (int node : {1, 2})
        for (const std::string& far : {"10.72.0." + std::to_string(3 - node), "fd72::" + std::to_string(3 - node)})
            must({"ip", "neigh", "replace", far, "lladdr", "02:00:00:00:00:99", "dev", "wire", "nud", "permanent"},
                 node_netns(node));
}

void Lab::plug_wire() {
    for (int node : {1, 2})
        for (const std::string& far : {"10.72.0." + std::to_string(3 - node), "fd72::" + std::to_string(3 - node)})
            must({"ip", "neigh", "del", far, "dev", "wire"}, node_netns(node));
}

}
