// SPDX-License-Identifier: Apache-2.0
// Nodes and pods made of network namespaces, by scripts/lab: the same ones as the demo's.
//
// A lab goes when it is destroyed; the janitor removes it when the whole process dies. Its folder (logs,
// configurations) stays when a test failed.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "connection.hpp"

namespace culvert::test {

enum class Family { v4, v6 };
std::string_view to_string(Family family);

class Lab;

// One pod: what its apps can do.
class Pod {
public:
    const std::string& name() const noexcept { return name_; }
    int node() const noexcept { return node_; }
    int index() const noexcept { return index_; }
    int netns() const noexcept { return netns_.get(); }
    std::string netns_path() const { return "/run/netns/" + netns_name_; }
    std::string host_link() const { return "pod" + std::to_string(index_); }  // its cable's end on the node
    IpAddress ip(Family family) const;
    SocketAddress at(Family family, std::uint16_t port) const { return {ip(family), port}; }

    Connection dial(const SocketAddress& to) const { return Connection::open(netns(), {.to = to}); }
    Connection dial(const Dial& dial) const { return Connection::open(netns(), dial); }
    Attempt attempt(const SocketAddress& to, Milliseconds limit = 10s) const;

private:
    friend class Lab;
    std::string name_;
    std::string netns_name_;
    int node_ = 0;
    int index_ = 0;
    base::Fd netns_;
};

class Lab {
public:
    explicit Lab(int nodes = 2);
    Lab(const Lab&) = delete;
    ~Lab();

    // Kept until the lab ends; the index is its address, 10.71.NODE.INDEX.
    Pod& add_pod(const std::string& name, int node, int index);
    // As a CNI does it: the cable first, then the netns. Its processes are the caller's.
    void end_pod(Pod& pod);
    // Again, with the same name and address and a new netns.
    void remake_pod(Pod& pod);

    const std::string& name() const noexcept { return name_; }
    std::string node_name(int node) const { return name_ + "-n" + std::to_string(node); }
    int node_netns(int node) const { return nodes_.at(node).get(); }
    const std::filesystem::path& folder() const noexcept { return folder_; }

    // From now on the node sends what is for this address of its own pods to a device that nobody has.
    void lose(const IpAddress& address, int node);
    // The wire between the nodes: pulled, it swallows everything without a word.
    void pull_wire();
    void plug_wire();

private:
    void make(Pod& pod);

    std::string name_;
    std::filesystem::path folder_;
    std::map<int, base::Fd> nodes_;
    std::map<std::string, std::unique_ptr<Pod>> pods_;
};

}
