// SPDX-License-Identifier: Apache-2.0
// Apps ask nameservers, and are answered by the mesh, or by the nameservers that the daemon has. Pods that have not
// asked for it ask whom they like.
#include <doctest/doctest.h>

#include <signal.h>

#include <algorithm>
#include <fstream>

#include <dns/nameserver.hpp>

#include "ctl.hpp"
#include "istio_rules.hpp"
#include "outcome.hpp"
#include "reasons.hpp"
#include "server.hpp"
#include "tap.hpp"
#include "visit.hpp"
#include "world.hpp"

using namespace culvert::test;
using culvert::base::Fd;
using culvert::dns::Bytes;
using culvert::dns::Nameserver;
using culvert::dns::Reading;
using culvert::dns::request;
using culvert::dns::Says;
using culvert::dns::View;

namespace {

// plain2 has the nameserver of the daemons. near asks whom it likes.
void with_dns(Mesh& mesh) {
    const auto file = mesh.lab->folder() / "resolv.conf";
    std::ofstream{file} << "nameserver 10.71.2.21\n";
    mesh.settings.extra += "dns: {resolvConf: " + file.string() + "}\n";
    mesh.add(Service{"headless", 0, {{80, 8080}}});
    for (Workload& workload : mesh.workloads) {
        if (workload.pod->name() == "near") workload.dns = "false";
        if (workload.pod->name() == "near" || workload.pod->name() == "far")
            workload.services["headless"] = {{80, 8080}};
    }
}

std::unique_ptr<Nameserver> nameserver_in(const Pod& pod, Family family, Says says) {
    return visit(pod.netns(),
                 [&] { return std::make_unique<Nameserver>(pod.ip(family).to_string().c_str(), 53, std::move(says)); });
}

std::unique_ptr<Nameserver> upstream_of(World& world) {
    REQUIRE(world.plain2.ip(Family::v4).to_string() == "10.71.2.21");
    return nameserver_in(world.plain2, Family::v4, [](const Bytes& asked) {
        return std::vector<Bytes>{culvert::dns::answer_with(asked, {"192.0.2.77"})};
    });
}

struct Way {
    bool connected = true;
    bool to_device = false;
    Milliseconds limit = 5s;
};

Fd udp_socket(const Pod& pod, const SocketAddress& nameserver, const Way& way) {
    Fd fd = visit(pod.netns(), [&] { return Fd{::socket(nameserver.ip.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0)}; });
    timeval limit{way.limit / 1s, (way.limit % 1s).count() * 1000};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (way.to_device) REQUIRE(::setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, "eth0", 4) == 0);
    return fd;
}

// Empty: nobody answered in time. Who answers must be who was asked.
Bytes ask(const Pod& pod, const SocketAddress& nameserver, const Bytes& request, const Way& way = {}) {
    Fd fd = udp_socket(pod, nameserver, way);
    sockaddr_storage raw;
    socklen_t size = nameserver.to(raw);
    auto* to = reinterpret_cast<sockaddr*>(&raw);
    if (way.connected) REQUIRE(::connect(fd.get(), to, size) == 0);
    if (::sendto(fd.get(), request.data(), request.size(), 0, way.connected ? nullptr : to, way.connected ? 0 : size) <
        0)
        return {};
    Bytes answer(65535);
    sockaddr_storage from;
    socklen_t from_size = sizeof from;
    auto got = ::recvfrom(fd.get(), answer.data(), answer.size(), 0, reinterpret_cast<sockaddr*>(&from), &from_size);
    if (got < 0) return {};
    CHECK(SocketAddress::from(from) == nameserver);
    answer.resize(static_cast<std::size_t>(got));
    CHECK(culvert::dns::id_of(answer) == culvert::dns::id_of(request));
    return answer;
}

Bytes ask_by_tcp(const Pod& pod, const SocketAddress& nameserver, const Bytes& request) {
    Connection connection = pod.dial(nameserver);
    CHECK(connection.peer() == nameserver);
    std::string framed{static_cast<char>(request.size() >> 8), static_cast<char>(request.size())};
    framed.append(request.begin(), request.end());
    connection.send(framed);
    std::string length = connection.receive(2);
    std::string answer = connection.receive(
        static_cast<std::size_t>(static_cast<unsigned char>(length[0]) << 8 | static_cast<unsigned char>(length[1])));
    return {answer.begin(), answer.end()};
}

std::uint16_t type_of(Family family) {
    return family == Family::v4 ? culvert::dns::type_a : culvert::dns::type_aaaa;
}

// The addresses of an answer, sorted; "failed 2" for another code, "silence" for no answer.
std::string said(const Bytes& answer) {
    if (answer.empty()) return "silence";
    Reading reading{answer};
    if (reading.rcode != 0) return "failed " + std::to_string(reading.rcode);
    std::vector<std::string> addresses;
    for (const auto& record : reading.records) addresses.push_back(record.substr(record.rfind(' ') + 1));
    std::ranges::sort(addresses);
    std::string text;
    for (const auto& one : addresses) text += (text.empty() ? "" : " ") + one;
    return text.empty() ? "nothing" : text;
}

std::string address(const Pod& pod, Family family) {
    return pod.ip(family).to_string();
}

// Where no nameserver is, and no pod.
SocketAddress nowhere(Family family) {
    return {*IpAddress::parse(family == Family::v4 ? "198.51.100.53" : "fd99::53"), 53};
}

World& shared() {
    return World::shared("dns", with_dns);
}

// As in a container, the daemon has a resolv.conf of its own. plain2 has the nameserver in it.
void give_nameserver(World& world) {
    const auto file = world.lab.folder() / "resolv.conf";
    std::ofstream{file} << "nameserver 10.71.2.21\n";
    world.one.signal(SIGTERM);
    REQUIRE(world.one.wait_exit(20s) == 0);
    auto words = world.cluster->environment(1, world.mesh.settings);
    // env(1) runs what stands behind the variables.
    words.insert(words.end(), {"unshare", "--mount", "sh", "-c", R"(mount --bind "$0" /etc/resolv.conf && exec "$@")",
                               file.string()});
    world.one.be_told_by(words);
    world.one.start();
}

// client has istio-cni's rules with DNS, near has them without.
World& prepared() {
    return World::shared(
        "dns, prepared by istio-cni",
        [](Mesh& mesh) {
            for (Workload& workload : mesh.workloads) {
                if (workload.pod->name() == "client") workload.rules = "iptables";
                if (workload.pod->name() == "near") workload.rules = "iptables no-dns";
            }
        },
        true);
}

#define PREPARED EBPF_ONLY("the other capture has rules of its own, and takes no pod that has somebody else's")

}

TEST_SUITE("dns") {

TEST_CASE("dns: services have names, whichever nameserver an app asks, and whichever way" BOTH_FAMILIES) {
    World& world = shared();
    auto upstream = upstream_of(world);
    for (Family family : families()) {
        CAPTURE(to_string(family));
        ReasonCount taken{world.one, "TO_DNS"};
        const std::string vip = world.vip("far", family).ip.to_string();
        for (const SocketAddress& nameserver : {nowhere(family), world.plain2.at(family, 53)}) {
            for (const Way& way : {Way{}, Way{.connected = false}}) {
                CHECK(said(ask(world.client, nameserver,
                               request({.name = "far.ns.svc.cluster.local", .type = type_of(family)}), way)) == vip);
                CHECK(said(ask(world.client, nameserver, request({.name = "FAR", .type = type_of(family)}), way)) ==
                      vip);
            }
            CHECK(said(ask_by_tcp(world.client, nameserver, request({.name = "far.ns", .type = type_of(family)}))) ==
                  vip);
        }
        CHECK(taken.rises(8));
        const auto answered = [&](const Pod& pod) {
            return holds(ask(world, world.one, {"explain", pod.name(), nowhere(family).ip.to_string(), "53"}),
                         "answered by  this node's DNS server\n");
        };
        CHECK(answered(world.client));
        CHECK_FALSE(answered(world.near));
        CHECK(said(ask(world.client, nowhere(family), request({.name = "nobody.ns", .type = 16}))) != "silence");
        CHECK(upstream->asked() > 0);
    }
    Reading first{ask(world.client, nowhere(Family::v4), request({.name = "far", .payload = 1232}))};
    CHECK(first.authoritative);
    CHECK(first.available);
    CHECK(first.payload == 1232);
}

TEST_CASE("dns: a socket that is bound to a device is answered, too" BOTH_FAMILIES EBPF_ONLY(
    "Istio's rules take it by its port, and its answer comes back by another device")) {
    World& world = shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        CHECK(said(ask(world.client, nowhere(family), request({.name = "far", .type = type_of(family)}),
                       {.to_device = true})) == world.vip("far", family).ip.to_string());
    }
}

TEST_CASE("dns: headless services give their pods' addresses, and their pods have names" BOTH_FAMILIES) {
    World& world = shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        auto tell = [&](const std::string& name) {
            return said(ask(world.client, nowhere(family), request({.name = name, .type = type_of(family)})));
        };
        std::vector<std::string> both{address(world.near, family), address(world.far, family)};
        std::ranges::sort(both);
        CHECK(tell("headless.ns.svc.cluster.local") == both[0] + " " + both[1]);
        CHECK(tell("far.headless.ns.svc.cluster.local") == address(world.far, family));
        CHECK(tell("near.headless") == address(world.near, family));
    }
}

TEST_CASE("dns: other names and other types are asked of the daemon's nameserver, from the pod" BOTH_FAMILIES) {
    World& world = shared();
    auto upstream = upstream_of(world);
    for (Family family : families()) {
        CAPTURE(to_string(family));
        const int before = upstream->asked();
        CHECK(said(ask(world.client, nowhere(family), request({.name = "example.com"}))) == "192.0.2.77");
        CHECK(upstream->asked() == before + 1);
        CHECK(upstream->client().ip == world.client.ip(Family::v4));
        CHECK_FALSE(ask(world.client, world.plain2.at(family, 53), request({.name = "far", .type = 15})).empty());
        CHECK(upstream->asked() == before + 2);
        CHECK(said(ask_by_tcp(world.client, nowhere(family), request({.name = "example.com"}))) == "192.0.2.77");
        CHECK(upstream->asked() == before + 3);
    }
    CHECK(total(world.one.metrics(), "istio_dns_upstream_requests_total") >= 3);
    CHECK(total(world.one.metrics(), "istio_dns_requests_total") >= 3);
    CHECK(total(world.two.metrics(), "istio_dns_requests_total") == 0);
}

TEST_CASE("dns: answers may be longer than a packet of the network, and are cut to what an app takes" BOTH_FAMILIES) {
    World& world = shared();
    std::vector<std::string> many;
    for (int i = 1; i < 250; ++i) many.push_back("192.0.2." + std::to_string(i));
    auto upstream = nameserver_in(world.plain2, Family::v4, [&](const Bytes& asked) {
        return std::vector<Bytes>{culvert::dns::answer_with(asked, many)};
    });
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Bytes whole = ask(world.client, nowhere(family), request({.name = "large.com", .payload = 8192}));
        REQUIRE(whole.size() > 3900);
        CHECK(Reading{whole}.records.size() == 249);
        Bytes cut = ask(world.client, nowhere(family), request({.name = "large.com"}));
        REQUIRE_FALSE(cut.empty());
        CHECK(cut.size() <= 512);
        CHECK(Reading{cut}.truncated);
        CHECK(Reading{ask_by_tcp(world.client, nowhere(family), request({.name = "large.com"}))}.records.size() == 249);
    }
}

TEST_CASE("dns: a nameserver that is not there is a failure at once, and names of the mesh go on" IPV4) {
    World& world = shared();
    const auto begun = std::chrono::steady_clock::now();
    CHECK(said(ask(world.client, nowhere(Family::v4), request({.name = "example.com"}))) == "failed 2");
    CHECK(std::chrono::steady_clock::now() - begun < 3s);
    CHECK(said(ask_by_tcp(world.client, nowhere(Family::v4), request({.name = "example.com"}))) == "failed 2");
    CHECK(said(ask(world.client, nowhere(Family::v4), request({.name = "far"}))) ==
          world.vip("far", Family::v4).ip.to_string());
    CHECK(total(world.one.metrics(), "istio_dns_upstream_failures_total") >= 2);
}

TEST_CASE("dns: a pod's own server on port 53 serves whom it served, and the pod's questions are ours" BOTH_FAMILIES) {
    World& world = shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        const char* any = family == Family::v4 ? "0.0.0.0" : "::";
        auto own = visit(world.client.netns(), [&] {
            return std::make_unique<Nameserver>(any, 53, [](const Bytes& asked) {
                return std::vector<Bytes>{culvert::dns::answer_with(asked, {"192.0.2.1"})};
            });
        });
        const Bytes question = request({.name = "far", .type = type_of(family)});
        const std::string vip = world.vip("far", family).ip.to_string();
        const SocketAddress itself = world.client.at(family, 53);
        for (const Way& way : {Way{}, Way{.connected = false}}) {
            CHECK(said(ask(world.client, nowhere(family), question, way)) == vip);
            CHECK(said(ask(world.client, itself, request({.name = "far"}), way)) == "192.0.2.1");
            CHECK(said(ask(world.plain1, itself, request({.name = "far"}), way)) == "192.0.2.1");
        }
    }
}

TEST_CASE("dns: a pod without it asks whom it likes" BOTH_FAMILIES) {
    World& world = shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        auto server = nameserver_in(world.plain2, family, [](const Bytes& asked) {
            return std::vector<Bytes>{culvert::dns::answer_with(asked, {"192.0.2.2"})};
        });
        CHECK(said(ask(world.near, world.plain2.at(family, 53), request({.name = "far"}))) == "192.0.2.2");
        CHECK(server->client().ip == world.near.ip(family));
        CHECK(said(ask_by_tcp(world.near, world.plain2.at(family, 53), request({.name = "far"}))) == "192.0.2.2");
    }
}

TEST_CASE("dns: while the daemon is dead nobody is asked, and a new one answers" BOTH_FAMILIES) {
    World world{with_dns};
    auto upstream = upstream_of(world);
    world.one.kill9();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        const auto nameserver = SocketAddress{world.plain2.ip(Family::v4), 53};
        CHECK(said(ask(world.client, nameserver, request({.name = "example.com"}), {.limit = 300ms})) == "silence");
        CHECK(world.client.attempt(nameserver).error != 0);
    }
    CHECK(upstream->asked() == 0);
    world.one.start();
    for (Family family : families())
        CHECK(said(ask(world.client, nowhere(family), request({.name = "far", .type = type_of(family)}))) ==
              world.vip("far", family).ip.to_string());
}

TEST_CASE(
    "dns: a pod that istio-cni has prepared asks by its rules, and calls what it is told" BOTH_FAMILIES PREPARED) {
    World& world = prepared();
    give_nameserver(world);
    auto upstream = upstream_of(world);
    Server far{world.far.netns(), 8080, apps::echo};
    const auto rules = istio_rules_in(world.client);
    for (Family family : families()) {
        CAPTURE(to_string(family));
        const std::string vip = world.vip("far", family).ip.to_string();
        const auto known = request({.name = "far.ns.svc.cluster.local", .type = type_of(family)});
        const auto outside = request({.name = "example.com"});
        const unsigned long by_rule = met(world.client, family, "ISTIO_OUTPUT", "--to-ports 15053");
        for (const SocketAddress& nameserver : {nowhere(family), world.plain2.at(family, 53)}) {
            for (const Way& way : {Way{}, Way{.connected = false}})
                CHECK(said(ask(world.client, nameserver, known, way)) == vip);
            CHECK(said(ask(world.client, nameserver, outside)) == "192.0.2.77");
            CHECK(said(ask_by_tcp(world.client, nameserver, known)) == vip);
            CHECK(said(ask_by_tcp(world.client, nameserver, outside)) == "192.0.2.77");
        }
        // The rules take this, too.
        const SocketAddress itself = world.client.at(family, 53);
        CHECK(said(ask_by_tcp(world.client, itself, known)) == vip);
        CHECK(holds(ask(world, world.one, {"explain", "client", itself.ip.to_string(), "53"}),
                    "answered by  this node's DNS server, where istio-cni has written rules for DNS\n"));
        CHECK(met(world.client, family, "ISTIO_OUTPUT", "--to-ports 15053") == by_rule + 6);  // UDP's
        CHECK(upstream->client().ip == world.client.ip(Family::v4));
        world.mark();
        CHECK(world.client.dial(world.vip("far", family)).echoes("by its name"));
        world.one.access_log().wait_for({{"direction", "outbound"}, {"dst.service", "far.ns.svc.cluster.local"}});
    }
    CHECK(istio_rules_in(world.client) == rules);
}

TEST_CASE(
    "dns: while the daemon is dead a prepared pod's questions are refused, and none leaves it" BOTH_FAMILIES PREPARED) {
    World& world = prepared();
    auto upstream = upstream_of(world);
    Tap cable{world.lab.node_netns(1), world.client.host_link()};
    world.one.kill9();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        const SocketAddress nameserver = world.plain2.at(family, 53);
        const auto begun = std::chrono::steady_clock::now();
        CHECK(said(ask(world.client, nameserver, request({.name = "example.com"}))) == "silence");
        CHECK(std::chrono::steady_clock::now() - begun < 3s);  // it was told
        CHECK(world.client.attempt(nameserver).error == EHOSTUNREACH);
    }
    world.one.start();
    for (Family family : families())
        CHECK(said(ask(world.client, nowhere(family), request({.name = "far", .type = type_of(family)}))) ==
              world.vip("far", family).ip.to_string());
    CHECK(upstream->asked() == 0);
    auto asks = [](const std::string& frame) { return frame.find("\7example") != std::string::npos; };
    CHECK(std::ranges::none_of(cable.others(), asks));
}

TEST_CASE("dns: a pod that istio-cni has prepared without DNS asks whom it likes" BOTH_FAMILIES PREPARED) {
    World& world = prepared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        auto server = nameserver_in(world.plain2, family, [](const Bytes& asked) {
            return std::vector<Bytes>{culvert::dns::answer_with(asked, {"192.0.2.2"})};
        });
        const SocketAddress nameserver = world.plain2.at(family, 53);
        world.mark();
        CHECK(said(ask(world.near, nameserver, request({.name = "far"}))) == "192.0.2.2");
        CHECK(server->client().ip == world.near.ip(family));
        CHECK(said(ask_by_tcp(world.near, nameserver, request({.name = "far"}))) == "192.0.2.2");
        world.one.access_log().wait_for({{"direction", "outbound"}, {"dst.addr", nameserver.to_string()}});
    }
}

TEST_CASE("dns: a pod that leaves asks for itself, and is answered again when it is back" BOTH_FAMILIES) {
    World world{with_dns};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        auto server = nameserver_in(world.plain2, family, [](const Bytes& asked) {
            return std::vector<Bytes>{culvert::dns::answer_with(asked, {"192.0.2.3"})};
        });
        const Bytes question = request({.name = "far", .type = type_of(family)});
        const SocketAddress nameserver = world.plain2.at(family, 53);
        CHECK(said(ask(world.client, nameserver, question)) == world.vip("far", family).ip.to_string());
        world.leave(world.client);
        CHECK(said(ask(world.client, nameserver, request({.name = "far"}))) == "192.0.2.3");
        CHECK(said(ask_by_tcp(world.client, nameserver, request({.name = "far"}))) == "192.0.2.3");
        world.join(world.client);
        CHECK(said(ask(world.client, nameserver, question)) == world.vip("far", family).ip.to_string());
    }
}
}
