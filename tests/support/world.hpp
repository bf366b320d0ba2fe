// SPDX-License-Identifier: Apache-2.0
// The mesh that most cases need: two nodes, a client on the first, servers on both, neighbours that are not enrolled.
//
//   node 1: client near tcp1 plain1        node 2: far tcp2 plain2 down lost
//
// Enrolled: client, near, far. tcp1 and tcp2 are workloads of protocol TCP; plain1 and plain2 are unknown to the mesh.
// down and lost are said to speak HBONE: nobody listens on down, and what is sent to lost is never heard of again.
// Services, port 80 to 8080 and 81 to 8081: near, far, tcp (tcp2), both (near and far), self (client), down, lost,
// nobody.
#pragma once
#include <memory>

#include "cluster.hpp"
#include "lab.hpp"
#include "mesh.hpp"
#include "node.hpp"

namespace culvert::test {

class World {
public:
    // `change` adapts the mesh before the daemons start. They are told by files, or by a control plane.
    explicit World(const std::function<void(Mesh&)>& change = {}, bool in_cluster = under_istiod());

    Lab lab;
    Mesh mesh;
    Pod& client;
    Pod& near;
    Pod& tcp1;
    Pod& plain1;
    Pod& far;
    Pod& tcp2;
    Pod& plain2;
    Pod& down;
    Pod& lost;
    std::unique_ptr<Cluster> cluster;  // none: files
    Node one;
    Node two;

    SocketAddress vip(const std::string& service, Family family, std::uint16_t port = 80) const {
        return mesh.service(service).at(family, port);
    }
    Node& node_of(const Pod& pod) { return pod.node() == 1 ? one : two; }
    // Writes both files from the mesh as it is now; or the control plane tells of it.
    void reconfigure();
    // A pod that is none of the mesh's is described as one that may join; then it joins, or leaves. Waits until it has.
    void describe(const Pod& pod);
    void join(const Pod& pod) { set_enrolled(pod, true); }
    void leave(const Pod& pod) { set_enrolled(pod, false); }
    // Access log lines before this do not count.
    void mark();

    // One for all cases that leave it as they found it; it ends with main. Those of one shape share theirs.
    static World& shared(const std::string& shape = {}, const std::function<void(Mesh&)>& change = {},
                         bool in_cluster = under_istiod());
    static void end_shared();

private:
    void set_enrolled(const Pod& pod, bool enrolled);
};

// The four ways through a daemon.
struct Path {
    std::string name;
    Pod& client;
    Pod& server;
};
std::vector<Path> paths(World& world);

}
