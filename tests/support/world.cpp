// SPDX-License-Identifier: Apache-2.0
#include "world.hpp"

#include <map>
#include <stdexcept>

namespace culvert::test {
namespace {

std::map<std::string, std::unique_ptr<World>> all_shared;

const Ports ports{{80, 8080}, {81, 8081}};

void populate(World& world) {
    Mesh& mesh = world.mesh;
    mesh.lab = &world.lab;
    int index = 80;
    for (const char* name : {"near", "far", "tcp", "both", "self", "nobody", "down", "lost"})
        mesh.add(Service{name, index++, ports});
    mesh.add(Workload{.pod = &world.client, .service_account = "client", .services = {{"self", ports}}});
    mesh.add(Workload{.pod = &world.near, .service_account = "server", .services = {{"near", ports}, {"both", ports}}});
    mesh.add(Workload{.pod = &world.far, .service_account = "server", .services = {{"far", ports}, {"both", ports}}});
    mesh.add(Workload{.pod = &world.tcp1, .protocol = "TCP", .enrolled = false});
    mesh.add(Workload{.pod = &world.tcp2, .protocol = "TCP", .enrolled = false, .services = {{"tcp", ports}}});
    mesh.add(Workload{.pod = &world.down, .enrolled = false, .services = {{"down", ports}}});
    mesh.add(Workload{.pod = &world.lost, .enrolled = false, .services = {{"lost", ports}}});
    for (Family family : {Family::v4, Family::v6}) world.lab.lose(world.lost.ip(family), 2);
}

}

World::World(const std::function<void(Mesh&)>& change, bool in_cluster)
    : client{lab.add_pod("client", 1, 10)},
      near{lab.add_pod("near", 1, 11)},
      tcp1{lab.add_pod("tcp1", 1, 20)},
      plain1{lab.add_pod("plain1", 1, 21)},
      far{lab.add_pod("far", 2, 11)},
      tcp2{lab.add_pod("tcp2", 2, 20)},
      plain2{lab.add_pod("plain2", 2, 21)},
      down{lab.add_pod("down", 2, 30)},
      lost{lab.add_pod("lost", 2, 31)},
      cluster{in_cluster ? std::make_unique<Cluster>(lab) : nullptr},
      one{lab, 1},
      two{lab, 2} {
    populate(*this);
    if (change) change(mesh);
    if (cluster) {
        one.be_told_by(cluster->environment(1, mesh.settings));
        two.be_told_by(cluster->environment(2, mesh.settings));
    }
    reconfigure();
    one.start();
    two.start();
}

void World::reconfigure() {
    if (cluster) return cluster->tell(mesh);
    one.configure(mesh.yaml(1));
    two.configure(mesh.yaml(2));
}

void World::describe(const Pod& pod) {
    mesh.add(Workload{.pod = &pod, .service_account = "late", .enrolled = false});
    reconfigure();
    for (Node* node : {&one, &two})
        if (!node->says({"applied"})) throw std::runtime_error(pod.name() + " was not described");
}

void World::set_enrolled(const Pod& pod, bool enrolled) {
    mesh.workload(pod).enrolled = enrolled;
    reconfigure();
    Node& node = node_of(pod);
    // Each line is looked for behind the one before.
    const bool done = enrolled ? node.says({pod.name(), "is in the mesh"}) && node.says({"applied"})
                               : node.says({"applied"}) && node.says({pod.name(), "has left the mesh"}, 15s);
    if (!done) throw std::runtime_error(pod.name() + " did not change sides");
}

void World::mark() {
    one.access_log().mark();
    two.access_log().mark();
}

World& World::shared(const std::string& shape, const std::function<void(Mesh&)>& change, bool in_cluster) {
    auto& one = all_shared[shape];
    if (!one) one = std::make_unique<World>(change, in_cluster);
    return *one;
}

void World::end_shared() {
    all_shared.clear();
}

std::vector<Path> paths(World& world) {
    return {{"tunnel to the other node", world.client, world.far},
            {"tunnel on the node", world.client, world.near},
            {"plain out", world.client, world.plain2},
            {"plain in", world.plain2, world.far}};
}

}
