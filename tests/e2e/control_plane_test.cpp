// SPDX-License-Identifier: Apache-2.0
// Our xDS client in front of a gRPC server of another make that plays istiod, over TLS: what arrives, what is said
// back, and what happens when something is wrong.
#include <doctest/doctest.h>

#include <culvert/grpc/channel.hpp>
#include <culvert/xds/client.hpp>

#include "beside_istiod.hpp"

using namespace culvert;
using namespace culvert::test;
using xds::Termination;

namespace {

const std::string recorded = CULVERT_SOURCE_DIR "/tests/unit/xds/recorded/";

std::string denial(const std::string& name) {
    return R"({"name": ")" + name +
           R"(", "namespace": "ns", "scope": "NAMESPACE", "action": "DENY", "rules": [{"clauses": [{"matches": [{"destination_ports": [9]}]}]}]})";
}
std::string workload(const std::string& name, const std::string& ip) {
    return R"({"workload": {"uid": "Kubernetes//Pod/ns/)" + name + R"(", "name": ")" + name +
           R"(", "namespace": "ns", "addresses": [")" + ip + R"("], "node": "here"}})";
}

// An istiod and a client of it, on this thread.
struct Scene : BesideIstiod {
    explicit Scene(std::vector<std::string> arguments = {"--token", "good"}) : BesideIstiod{std::move(arguments)} {}

    void start(xds::Client::Options options = {}) {
        options.pace.settled = 100ms;
        options.pace.most = 300ms;
        xds::Node node{"ztunnel~10.0.0.1~ztunnel-x.istio-system~istio-system.svc.cluster.local",
                       {{"NODE_NAME", "here"}, {"NAMESPACE", "istio-system"}}};
        client = std::make_unique<xds::Client>(
            io, target, node,
            xds::Client::Callbacks{[this](xds::Kind kind) { changes.push_back(kind); }, [this] { ++ready; }}, options);
    }

    bool failed_with(const std::string& words) {
        return soon([&] { return client->stats().last_failure.find(words) != std::string::npos; });
    }
    std::uint64_t ended(Termination why) { return client->stats().ended[static_cast<std::size_t>(why)]; }
    bool denied_by(const std::string& name) {
        for (const auto& held : client->store().policies())
            if (held.key() == name) return held.rules == std::vector<policy::Rule>{{}};
        return false;
    }

    std::vector<xds::Kind> changes;
    int ready = 0;
    std::unique_ptr<xds::Client> client;
};

}

TEST_SUITE("control plane") {

TEST_CASE("xds: a mesh arrives whole, and then its changes as they come") {
    Scene scene;
    scene.istiod.order(R"({"do": "replay", "directory": ")" + recorded +
                       R"(00-base", "replace": {"192.168.184.74": "10.71.1.4", "ambient-worker2": "node-2", )" +
                       R"("ambient-worker": "node-1"}})");
    scene.start();
    REQUIRE(scene.soon([&] { return scene.ready == 1; }));
    CHECK(scene.client->store().workloads() + scene.client->store().services() == 17);
    CHECK(scene.istiod.says({"\"headers\"", "\"clusterid\": \"Kubernetes\""}));
    CHECK(scene.istiod.says({"\"ack\"", "Authorization"}));
    const auto mesh = scene.client->store().mesh();
    const auto httpbin = mesh->workload_by_ip("", *base::IpAddress::parse("10.71.1.4"));
    REQUIRE(httpbin);
    CHECK(httpbin->name == "httpbin-74fb669cc6-bbbbb");
    CHECK(httpbin->node == "node-1");

    scene.istiod.order(R"({"do": "put", "addresses": [)" + workload("late", "10.0.0.9") + "]}");
    CHECK(scene.soon([&] { return scene.client->store().workloads() + scene.client->store().services() == 18; }));
    scene.istiod.order(R"({"do": "put", "authorizations": [)" + denial("p") + "]}");
    CHECK(scene.soon([&] { return scene.client->store().policies().size() == 1; }));
    scene.istiod.order(R"({"do": "remove", "names": ["Kubernetes//Pod/ns/late", "ns/p"]})");
    CHECK(scene.soon([&] { return scene.client->store().policies().empty(); }));
    CHECK(scene.client->store().workloads() + scene.client->store().services() == 17);
    CHECK(scene.ready == 1);
    CHECK(scene.client->stats().connected);
    CHECK(scene.client->stats().connection == 1);
}

TEST_CASE("xds: istiod hears why a resource is refused; a policy that nobody can read denies until it can be read") {
    Scene scene;
    scene.start();
    REQUIRE(scene.soon([&] { return scene.ready == 1; }));
    scene.istiod.order(R"({"do": "put raw", "kind": "Authorization", "name": "ns/odd", "base64": "////"})");
    CHECK(scene.soon([&] { return scene.denied_by("ns/odd"); }));
    CHECK(scene.istiod.says({"\"nack\"", "ns/odd: its bytes are no istio.security.Authorization"}));
    CHECK(scene.client->stats().of[1].refused_resources == 1);

    // istiod may forget it while we are away.
    scene.istiod.order(R"({"do": "away"})");
    scene.istiod.order(R"({"do": "remove", "names": ["ns/odd"]})");
    scene.istiod.order(R"({"do": "back"})");
    CHECK(scene.soon([&] { return scene.client->store().policies().empty(); }));

    scene.istiod.order(R"({"do": "put raw", "kind": "Authorization", "name": "ns/odd", "base64": "////"})");
    CHECK(scene.soon([&] { return scene.denied_by("ns/odd"); }));
    scene.istiod.order(R"({"do": "put", "authorizations": [)" + denial("odd") + "]}");
    CHECK(scene.soon([&] { return !scene.denied_by("ns/odd"); }));
    CHECK(scene.client->store().policies().size() == 1);
}

TEST_CASE("xds: after a break it says what it has, and is told only of the rest") {
    Scene scene;
    scene.istiod.order(R"({"do": "put", "addresses": [)" + workload("a", "10.0.0.1") + ", " +
                       workload("b", "10.0.0.2") + "]}");
    scene.start();
    REQUIRE(scene.soon([&] { return scene.ready == 1; }));
    scene.istiod.order(R"({"do": "away"})");
    CHECK(scene.failed_with("is istiod running?"));
    CHECK(!scene.client->stats().connected);
    CHECK(scene.client->store().workloads() == 2);  // what it has stays in force

    scene.istiod.order(R"({"do": "remove", "names": ["Kubernetes//Pod/ns/a"]})");
    scene.istiod.order(R"({"do": "put", "addresses": [)" + workload("c", "10.0.0.3") + "]}");
    scene.istiod.order(R"({"do": "back"})");
    CHECK(scene.soon(
        [&] { return scene.client->stats().connected && scene.client->store().mesh()->workloads().size() == 2; }));
    CHECK(scene.istiod.says({"\"subscribed\"", "Address", "\"versions\": 2"}));
    CHECK(scene.istiod.says({"\"pushed\"", "Address", "\"resources\": 1, \"removed\": 1"}));
    CHECK(scene.ready == 1);
    CHECK(scene.client->stats().last_failure.empty());
}

TEST_CASE("xds: a token that is refused is said so, and read anew for the next try") {
    Scene scene;
    scene.token("stale");
    scene.start();
    CHECK(scene.failed_with("Unauthenticated: authentication failure: istiod refused our token (the one in "));
    scene.token("");
    CHECK(scene.failed_with("is empty"));
    scene.token("good\n");
    CHECK(scene.soon([&] { return scene.ready == 1; }));
}

TEST_CASE("xds: a certificate of another root, or for another name, is not taken") {
    Scene scene;
    Folder other;
    Istiod stranger{other.path / "istiod"};
    const auto good = scene.target;
    scene.target.roots = grpc::RootsFile{stranger.root()};
    scene.start();
    CHECK(scene.failed_with("does not verify with the roots of " + stranger.root()));
    CHECK(scene.ended(Termination::connection_error) > 0);
    // The file is read at each connection.
    std::filesystem::copy_file(scene.istiod.root(), stranger.root(), std::filesystem::copy_options::overwrite_existing);
    CHECK(scene.soon([&] { return scene.ready == 1; }));

    scene.target = good;
    scene.target.alternative_hostname.clear();
    scene.start();
    CHECK(
        scene.failed_with("is for istiod.istio-system.svc, istiod.istio-system.svc.cluster.local, istiod.istio-system, "
                          "not for 127.0.0.1"));
    CHECK(scene.istiod.said({"\"headers\""}) == 1);  // nothing of ours went there
}

TEST_CASE("xds: istiod that is away is waited for") {
    Scene scene;
    scene.target.address = "https://no.such.name.invalid:1";
    scene.start();
    CHECK(scene.failed_with("look up the address of no.such.name.invalid: "));
    scene.istiod.order(R"({"do": "away"})");
    scene.target.address = "https://localhost:" + std::to_string(scene.istiod.port());
    scene.start();
    CHECK(scene.failed_with("Connection refused"));
    CHECK(scene.soon([&] { return scene.ended(Termination::connection_error) >= 3; }));
    CHECK(scene.ready == 0);
    scene.istiod.order(R"({"do": "back"})");
    CHECK(scene.soon([&] { return scene.ready == 1; }));
}

TEST_CASE("xds: who is no istiod is found out, and istiod found again") {
    Scene scene;
    xds::Client::Options options;
    options.connection.handshake = 700ms;
    scene.istiod.order(R"({"do": "back", "as": "http"})");
    scene.start(options);
    CHECK(scene.failed_with("what the server says is no HTTP/2"));
    scene.istiod.order(R"({"do": "back", "as": "noise"})");
    CHECK(scene.soon([&] { return scene.istiod.said({"\"taken\"", "noise"}) > 2; }));
    CHECK(scene.client->stats().last_failure.find("what the server says is no HTTP/2") != std::string::npos);
    scene.istiod.order(R"({"do": "back", "as": "silence"})");
    CHECK(scene.failed_with("no answer within 700 ms"));
    scene.istiod.order(R"({"do": "back"})");
    CHECK(scene.soon([&] { return scene.ready == 1; }));
}

TEST_CASE("xds: what istiod never says ends the stream, and nothing else") {
    Scene scene;
    scene.istiod.order(R"({"do": "put", "addresses": [)" + workload("a", "10.0.0.1") + "]}");
    scene.start();
    REQUIRE(scene.soon([&] { return scene.ready == 1; }));
    std::uint64_t connections = 1;
    for (const std::string what : {"bytes", "no nonce"}) {
        CAPTURE(what);
        scene.istiod.order(R"({"do": "garbage", "what": ")" + what + "\"}");
        CHECK(scene.soon([&] { return scene.client->stats().connection == connections + 1; }));
        CHECK(scene.soon([&] { return scene.client->stats().connected; }));
        ++connections;
    }
    CHECK(scene.ended(Termination::error) == 2);
    for (const std::string what : {"unknown kind", "unreadable resource"}) {
        CAPTURE(what);
        const auto nacks = scene.istiod.said({"\"nack\""});
        scene.istiod.order(R"({"do": "garbage", "what": ")" + what + "\"}");
        CHECK(scene.soon([&] { return scene.istiod.said({"\"nack\""}) == nacks + 1; }));
    }
    CHECK(scene.client->stats().connection == connections);
    CHECK(scene.client->store().workloads() == 1);
}

TEST_CASE("xds: a stream that istiod ends, for its age or with a word, is followed by the next one") {
    Scene scene;
    scene.istiod.order(R"({"do": "back", "max_age": 1})");
    scene.start();
    REQUIRE(scene.soon([&] { return scene.ready == 1; }));
    CHECK(scene.soon([&] { return scene.ended(Termination::reconnect) >= 1 && scene.client->stats().connected; }, 10s));
    CHECK(scene.ended(Termination::error) == 0);
    scene.istiod.order(R"({"do": "back"})");
    CHECK(scene.soon([&] { return scene.client->stats().connected; }));
    const auto before = scene.ended(Termination::error);
    scene.istiod.order(R"({"do": "end", "code": "RESOURCE_EXHAUSTED", "text": "too many, 100% of them"})");
    CHECK(scene.failed_with("ResourceExhausted: too many, 100% of them"));
    CHECK(scene.ended(Termination::error) == before + 1);
}

TEST_CASE("xds: an istiod that hangs is found out by what HTTP/2 has for it, and found again") {
    Scene scene{{"--plaintext", "127.0.0.1:0"}};
    xds::Client::Options options;
    options.connection.ping_after = 300ms;
    options.connection.ping_answer = 1000ms;
    scene.target.address = "http://127.0.0.1:" + std::to_string(scene.istiod.plaintext_port());
    scene.target.roots = grpc::RootsFile{"/nowhere"};  // of no use in plaintext
    scene.start(options);
    REQUIRE(scene.soon([&] { return scene.ready == 1; }));
    CHECK(!scene.soon([&] { return !scene.client->stats().connected; }, 1400ms));  // PINGs are answered
    CHECK(!scene.client->stats().stale_since);
    scene.istiod.pause();
    const auto paused = std::chrono::steady_clock::now();
    CHECK(scene.soon([&] { return scene.ended(Termination::reconnect) == 1; }));
    REQUIRE(scene.client->stats().stale_since);
    CHECK(*scene.client->stats().stale_since <= paused + 300ms);  // not since it was found out
    CHECK(scene.client->stats().last_failure.find("no answer to an HTTP/2 PING") != std::string::npos);
    scene.istiod.resume();
    CHECK(scene.soon([&] { return scene.client->stats().connected; }));
    CHECK(!scene.client->stats().stale_since);
}

TEST_CASE("xds: a slow istiod costs time and nothing else") {
    Scene scene;
    scene.istiod.order(R"({"do": "slow", "seconds": 0.6})");
    xds::Client::Options options;
    options.pace.patience = 100ms;
    scene.start(options);
    Stopwatch watch;
    CHECK(scene.failed_with("istiod took our stream and has not answered for 100 ms"));
    CHECK(scene.soon([&] { return scene.ready == 1; }));
    CHECK(watch.elapsed() >= 1000ms);
    CHECK(scene.client->stats().last_failure.empty());
    CHECK(scene.client->stats().connection == 1);
}

TEST_CASE("xds: on demand, names are asked for, and what has no answer is given up") {
    Scene scene;
    scene.istiod.order(
        R"({"do": "put", "addresses": [)" + workload("a", "10.0.0.1") +
        R"(, {"workload": {"uid": "far", "namespace": "ns", "name": "far", "addresses": ["10.0.0.2"], "node": "there"}}]})");
    scene.start({.interest = xds::Interest::on_demand});
    REQUIRE(scene.soon([&] { return scene.ready == 1; }));
    CHECK(scene.client->store().workloads() == 1);  // our own node's come by themselves

    using Told = xds::Client::Told;
    std::optional<Told> told;
    scene.client->ask("/10.0.0.2", 5s, [&](Told answer) { told = answer; });
    CHECK(scene.soon([&] { return told.has_value(); }));
    CHECK(told == Told::found);
    CHECK(scene.client->store().workloads() == 2);
    told.reset();
    scene.client->ask("/10.9.9.9", 5s, [&](Told answer) { told = answer; });
    CHECK(scene.soon([&] { return told == Told::missing; }));

    scene.istiod.order(R"({"do": "slow", "seconds": 0.5})");
    told.reset();
    scene.client->ask("/10.8.8.8", 100ms, [&](Told answer) { told = answer; });
    CHECK(scene.soon([&] { return told == Told::too_late; }));
    CHECK(scene.istiod.says({"\"asked\"", "\"back\": [\"/10.8.8.8\"]"}));
}

TEST_CASE("xds: thousands of workloads and hundreds of services come in one response") {
    Scene scene;
    scene.istiod.order(R"({"do": "many", "workloads": 3000, "services": 300})");
    scene.start();
    CHECK(scene.soon([&] { return scene.ready == 1; }, 20s));
    CHECK(scene.client->store().workloads() == 3000);
    CHECK(scene.client->store().services() == 300);
    CHECK(scene.client->stats().of[0].bytes > 500'000);
}

TEST_CASE("unary: a call has an answer, a status, or its deadline") {
    Scene scene;
    grpc::Channel channel{scene.io, scene.target};
    std::vector<grpc::Reply> replies;
    auto call = [&](Milliseconds deadline) {
        channel.call("/istio.v1.auth.IstioCertificateService/CreateCertificate", "", deadline,
                     [&](grpc::Reply reply) { replies.push_back(std::move(reply)); });
    };
    call(5s);
    call(5s);
    CHECK(scene.soon([&] { return replies.size() == 2; }));
    CHECK(replies.at(0).status.to_string() == "Unauthenticated: request impersonation authentication failure");
    channel.call("/no.Service/Method", "", 5s, [&](grpc::Reply reply) { replies.push_back(std::move(reply)); });
    CHECK(scene.soon([&] { return replies.size() == 3; }));
    CHECK(replies.at(2).status.code == grpc::Code::unimplemented);

    // Between two calls the connection may go.
    scene.istiod.order(R"({"do": "back"})");
    call(5s);
    CHECK(scene.soon([&] { return replies.size() == 4; }));
    CHECK(replies.at(3).status.code == grpc::Code::unauthenticated);

    scene.istiod.order(R"({"do": "back", "as": "silence"})");
    call(200ms);
    CHECK(scene.soon([&] { return replies.size() == 5; }));
    CHECK(replies.at(4).status.code == grpc::Code::deadline_exceeded);
}

}
