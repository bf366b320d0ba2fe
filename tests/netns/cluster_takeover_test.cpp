// SPDX-License-Identifier: Apache-2.0
// A node of a cluster whose daemon is replaced while calls run, as in a DaemonSet that is rolled: the new one takes
// nothing before it can serve it, and until then the old one goes on.
#include <doctest/doctest.h>

#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <atomic>
#include <thread>

#include <dns/nameserver.hpp>

#include "ctl.hpp"
#include "finally.hpp"
#include "in_cluster.hpp"
#include "load.hpp"
#include "outcome.hpp"
#include "server.hpp"
#include "visit.hpp"

using namespace culvert::test;

namespace {

constexpr const char* one_port = "the rules lead to fixed ports, which two daemons cannot both have";
const std::string client_identity = "spiffe://cluster.local/ns/ns/sa/client";

// Out of the node and into it, all the time.
struct Calls {
    explicit Calls(World& world)
        : far{world.far.netns(), 8080, apps::echo},
          near{world.near.netns(), 8080, apps::echo},
          out{world.client, world.vip("far", Family::v4), "out"},
          in{world.plain2, world.near.at(Family::v4, 8080), "in"} {}
    bool go_on(int more = 20) const { return out.goes_on(more) && in.goes_on(more); }
    void check_none_failed() {
        for (Load* load : {&out, &in}) {
            CHECK(load->goes_on());
            load->stop();
            CHECK_MESSAGE(load->failed() == 0, load->first_failure());
        }
    }
    Server far, near;
    Load out, in;
};

// The pod asks for a name of the mesh, one question after the other, each once.
class Questions {
public:
    explicit Questions(World& world)
        : socket_{visit(world.client.netns(), [] { return Fd{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)}; })},
          thread_{[this] { go(); }} {}
    Questions(const Questions&) = delete;
    ~Questions() { stop(); }
    void stop() {
        ending_ = true;
        if (thread_.joinable()) thread_.join();
    }
    bool go_on() const {
        const int before = answered_;
        return eventually(10s, [&] { return answered_ >= before + 20; });
    }
    int unanswered() const { return unanswered_; }

private:
    using Fd = culvert::base::Fd;

    void go() {
        const timeval limit{5, 0};
        ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        sockaddr_storage nobody;  // it is in the nameserver's name that we are answered
        const socklen_t size = SocketAddress{*IpAddress::parse("198.51.100.53"), 53}.to(nobody);
        const auto question = culvert::dns::request({.name = "far.ns.svc.cluster.local"});
        while (!ending_) {
            std::uint8_t answer[512];
            ::sendto(socket_.get(), question.data(), question.size(), 0, reinterpret_cast<sockaddr*>(&nobody), size);
            const bool good = ::recv(socket_.get(), answer, sizeof answer, 0) > 12 && (answer[3] & 15) == 0;
            ++(good ? answered_ : unanswered_);
            std::this_thread::sleep_for(2ms);  // an app's own pace
        }
    }

    Fd socket_;
    std::atomic<bool> ending_{false};
    std::atomic<int> answered_{0}, unanswered_{0};
    std::thread thread_;
};

std::size_t signed_for_client(const World& world) {
    return world.cluster->istiod.said({"\"signed\"", "\"" + client_identity + "\""});
}

// The kubelet may tell it to at any moment once it is replaced.
void check_ends(Node& node, Process& old, const std::string& when = "standing by") {
    CHECK(node.says({when}, 20s));
    old.signal(SIGTERM);
    CHECK(old.wait(5s) == 0);
}

}

TEST_SUITE("cluster_takeover") {

TEST_CASE("cluster takeover: pods, names, certificates, agent and culvertctl go over, and no call fails" IPV4 EBPF_ONLY(
    one_port)) {
    World& world = cluster();
    IstioCni& agent = world.cluster->agent(1);
    Calls calls{world};
    Questions questions{world};
    CHECK(calls.go_on());
    CHECK(questions.go_on());
    while (agent.says("", 0ms)) {
    }
    const auto before = signed_for_client(world);

    Process old = world.one.start_successor(culvertd());
    CHECK(signed_for_client(world) == before + 1);
    CHECK(agent.says("snapshot: ok"));
    CHECK(agent.says("gone"));
    CHECK(ask_json(world, world.one, {"status"}).at("pid").to_number<int>() == world.one.pid());
    CHECK(calls.go_on());
    CHECK(questions.go_on());

    agent.add(world.plain1, "late");
    CHECK(agent.says("add " + IstioCni::uid(world.plain1) + ": ok"));
    CHECK(holds(ask(world, world.one, {"pods"}), world.plain1.name()));
    agent.del(world.plain1);
    CHECK(agent.says("del " + IstioCni::uid(world.plain1) + ": ok"));

    check_ends(world.one, old);
    calls.check_none_failed();
    questions.stop();
    CHECK(questions.unanswered() == 0);
    CHECK(agent.complaints() == "");
    check_follows(world);
}

TEST_CASE(
    "cluster takeover: a second daemon waits for istiod, and takes over then; no call fails" IPV4 EBPF_ONLY(one_port)) {
    World& world = cluster();
    Calls calls{world};
    CHECK(calls.go_on());
    tell_of_node_proxy(world, 1);
    const auto read_from_it = [&] {
        return http_get(world.client.netns(), on_node(1, Family::v4, 15020), "/metrics").status == 200;
    };
    CHECK(world.one.says({"own pod istio-system/ztunnel-1: port 15020 is in the mesh"}));
    CHECK(eventually(5s, read_from_it));
    order(world, "away");
    Process old = world.one.launch_successor();
    CHECK(world.one.says({"xds", "connection 1 to", "is istiod running?"}));
    CHECK(calls.go_on(100));
    CHECK(old.running());
    order(world, "back");
    world.one.wait_until_taken_over();
    CHECK(world.one.says({"own pod istio-system/ztunnel-1: port 15020 is in the mesh"}));
    CHECK(eventually(5s, read_from_it));
    check_ends(world.one, old);
    calls.check_none_failed();
    CHECK(world.cluster->agent(1).complaints() == "");
    world.reconfigure();
    check_follows(world);
}

TEST_CASE("cluster takeover: no pod is taken before the CA has given its certificate, unless it gives others" IPV4
              EBPF_ONLY(one_port)) {
    World& world = cluster();
    Finally as_it_was{[&] { order(world, "identities", R"("accept": null)"); }};
    Server near{world.near.netns(), 8080, apps::echo};
    Server far{world.far.netns(), 8080, apps::echo};
    Load out{world.client, world.vip("far", Family::v4), "out"};
    {
        Load in{world.plain2, world.near.at(Family::v4, 8080), "in"};
        CHECK(in.goes_on());
        order(world, "identities", R"("accept": [])");
        Process old = world.one.launch_successor();
        CHECK(world.one.says({"the pods are not taken over yet: 2 of the 2 identities", "the CA at https://"}));
        CHECK(out.goes_on(50));
        CHECK(in.goes_on(50));
        CHECK(old.running());
        order(world, "identities", R"("accept": null)");
        world.one.wait_until_taken_over();
        CHECK(in.goes_on());
        check_ends(world.one, old);
        CHECK_MESSAGE(in.failed() == 0, in.first_failure());
    }
    order(world, "identities", R"("accept": [")" + client_identity + "\"]");
    Process old = world.one.start_successor(culvertd());
    CHECK(out.goes_on());
    old.signal(SIGTERM);  // before it has come to stand by: a kubelet says it once
    CHECK(old.wait(10s) == 0);
    out.stop();
    CHECK_MESSAGE(out.failed() == 0, out.first_failure());
    order(world, "identities", R"("accept": null)");
    CHECK(eventually(20s, [&] { return answer(world, world.client, world.near, 8080) == "yes"; }));
}

TEST_CASE("cluster takeover: without the agent the pods stay where they are; a second daemon says so and ends" IPV4
              EBPF_ONLY(one_port)) {
    World& world = cluster();
    IstioCni& agent = world.cluster->agent(1);
    Calls calls{world};
    CHECK(calls.go_on());
    agent.order("close");
    Process old = world.one.launch_successor();
    CHECK(world.one.says({"has not finished: its pods were taken back"}, 20s));
    CHECK(calls.go_on());
    CHECK(eventually(20s, [&] { return !world.one.running(); }));
    CHECK(world.one.says({"has taken them back", "start it again"}));
    CHECK(calls.go_on());
    CHECK(old.running());
    agent.order("open");
    world.one.launch();
    world.one.wait_until_taken_over();
    check_ends(world.one, old, "drained: bye");
    calls.check_none_failed();
    check_follows(world);
}

}
