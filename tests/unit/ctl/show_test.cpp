// SPDX-License-Identifier: Apache-2.0
// What commands make of a daemon's answer.
#include <ctl/commands.hpp>
#include <ctl/screen.hpp>

#include <boost/json/parse.hpp>

#include <doctest/doctest.h>

using namespace culvert::ctl;
namespace json = boost::json;

namespace {

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

std::string shown(const Command& command, std::string_view answer, const Options& options = {}) {
    return command.show(json::parse({answer.data(), answer.size()}), options, {});
}

}

TEST_SUITE("ctl") {

TEST_CASE("connections: a tunnel is shown with its other end, on both sides") {
    auto text = shown(connections_command, R"({"open": 2, "more": false, "connections": [
        {"direction": "outbound", "path": "HBONE", "tunnel_peer": "10.0.2.1:15008", "age_seconds": 65,
         "bytes_sent": 10, "bytes_received": 2048,
         "source": {"address": "10.0.1.1:4000", "pod": "ns/a", "identity": "spiffe://td/ns/ns/sa/a"},
         "destination": {"address": "10.0.2.1:80", "pod": "ns/b", "identity": "spiffe://td/ns/ns/sa/b"}},
        {"direction": "inbound", "path": "plaintext", "tunnel_peer": null, "age_seconds": 1, "bytes_sent": 0,
         "bytes_received": 0, "source": {"address": "10.9.9.9:1", "pod": null, "identity": null},
         "destination": {"address": "10.0.1.1:80", "pod": "ns/a", "identity": null}}]})");
    CHECK(has(text,
              "outbound   10.0.1.1:4000 ns/a  td/ns/ns/sa/a    10.0.2.1:80 ns/b  td/ns/ns/sa/b         HBONE to "
              "10.0.2.1:15008  1m05s  10 B   2.0 KiB\n"));
    CHECK(
        has(text, "inbound    10.9.9.9:1          -                10.0.1.1:80 ns/a  -                     plaintext"));
    CHECK_FALSE(has(text, "and more"));
}

TEST_CASE("connections: none, and more than were asked for, are said") {
    Options of_a;
    of_a.pod = "a";
    CHECK(shown(connections_command, R"({"connections": []})", of_a) == "no connections of a\n");
    auto text = shown(connections_command, R"({"open": 9, "more": true, "connections": [{"direction": "outbound"}]})");
    CHECK(has(text, "and more: 9 are open on this node\n"));
}

TEST_CASE("reasons: two looks make rates, and a daemon that started anew does not count backwards") {
    auto before = json::parse(R"({"at_ns": 0, "reasons": [{"name": "A", "count": 10}, {"name": "B", "count": 7}]})");
    auto now = json::parse(R"({"at_ns": 2000000000,
        "reasons": [{"name": "A", "text": "a", "count": 110}, {"name": "B", "count": 1}, {"name": "C", "count": 0}]})");
    auto compared = reasons_command.compare(before, now);
    auto text = reasons_command.show(compared, {}, {});
    CHECK(has(text, "A               50    110  a\n"));
    CHECK(has(text, "B                0      1\n"));
    CHECK_FALSE(has(text, "\nC "));
    Options all;
    all.all = true;
    CHECK(has(reasons_command.show(compared, all, {}), "\nC "));
}

TEST_CASE("pods: one that waits says for what") {
    auto text = shown(pods_command, R"({"pods": [{"uid": "u", "name": "a", "namespace": "ns", "state": "waiting",
        "identity": "spiffe://td/ns/ns/sa/a", "certificate_expires": null, "netns": "/run/netns/a",
        "why": "pod ns/a: open netns /run/netns/a: no such file", "listeners": 0, "connections": 0}]})");
    CHECK(has(text, "ns/a  waiting  td/ns/ns/sa/a  none "));
    CHECK(has(text, "\npod ns/a: open netns /run/netns/a: no such file\n"));
}

TEST_CASE("pods: what bypasses the mesh is said, and nothing of those that exclude nothing") {
    auto text = shown(pods_command, R"({"pods": [
        {"name": "a", "namespace": "ns", "state": "in the mesh",
         "exclude": {"outbound_ports": [3306], "outbound_cidrs": [], "inbound_ports": [],
                     "text": "outbound port 3306 bypasses the mesh"}},
        {"name": "b", "namespace": "ns", "state": "in the mesh",
         "exclude": {"outbound_ports": [], "outbound_cidrs": [], "inbound_ports": [],
                     "text": "nothing bypasses the mesh"}}]})");
    CHECK(has(text, "\nns/a: outbound port 3306 bypasses the mesh\n"));
    CHECK_FALSE(has(text, "nothing bypasses"));
}

TEST_CASE("policies: each says what it is, whom it is about, and what is not in force says so") {
    constexpr std::string_view answer = R"({"policies": [
        {"name": "no-80", "namespace": "ns", "scope": "Global", "action": "Deny", "dry_run": false, "unknown": false,
         "rules": 1, "applies_to": {"count": 9, "first": ["ns/a", "ns/b"]}, "hits": 12},
        {"name": "try", "namespace": "ns", "scope": "Namespace", "action": "Allow", "dry_run": true, "unknown": false,
         "rules": 2, "applies_to": {"count": 1, "first": ["ns/a"]}, "hits": 0},
        {"name": "lost", "namespace": "ns", "scope": "WorkloadSelector", "action": "Deny", "dry_run": false,
         "unknown": true, "rules": 1, "applies_to": {"count": 0, "first": []}, "hits": 0}],
        "ignored": ["ns/gone"], "refused": ""})";
    auto text = shown(policies_command, answer);
    CHECK(has(text, "ns/no-80  Global            Deny    in force      1    12          9  ns/a, ns/b, …\n"));
    CHECK(has(text, "ns/try    Namespace         Allow   dry run       2     0          1  ns/a\n"));
    CHECK(has(text, "ns/lost   WorkloadSelector  Deny    unknown       1     0          0\n"));
    CHECK(has(text, "\nns/lost is named by a workload, and nobody has it: something that refuses is in its place\n"));
    CHECK(has(text, "\nns/gone is named by a workload, and nobody has it: ignored"));
    auto refused = json::parse({answer.data(), answer.size()});
    refused.as_object()["refused"] = "/etc/c.yaml:3: policies[0].rules";
    text = policies_command.show(refused, {}, {});
    CHECK(has(text, "Deny    last good "));
    CHECK(has(text, "\n/etc/c.yaml:3: policies[0].rules\n(refused; "));
    CHECK(has(shown(policies_command, R"({"policies": []})"), "no policies: all may talk to all\n"));
}

TEST_CASE("explain: the way and the word of each endpoint, and a no is told from the exit status") {
    constexpr std::string_view answer = R"({"captured": true, "why": "by this node", "error": null, "allowed": false,
        "source": {"pod": "ns/a", "address": "10.0.0.1", "here": true, "state": "in the mesh", "service": null,
                   "identity": "spiffe://td/ns/ns/sa/a"},
        "destination": {"pod": null, "service": "b.ns.svc", "address": "10.96.0.1:80"},
        "endpoints": [
            {"pod": "ns/b", "address": "10.0.0.2:8080", "path": "HBONE", "next_hop": "10.0.0.2:15008",
             "must_be": ["spiffe://td/ns/ns/sa/b"], "decided_by": "this node", "allowed": false,
             "why": "denied by ns/p, rules[0]: everything"},
            {"pod": "ns/c", "node": "two", "address": "10.0.0.3:8080", "path": "HBONE", "next_hop": "10.0.0.3:15008",
             "must_be": ["spiffe://td/ns/ns/sa/c"], "decided_by": "its own node", "allowed": true,
             "why": "no policy applies to it"}]})";
    auto text = shown(explain_command, answer);
    CHECK(has(text, "source       ns/a 10.0.0.1, in the mesh here as td/ns/ns/sa/a\n"));
    CHECK(has(text, "destination  b.ns.svc 10.96.0.1:80\ncaptured     yes, by this node\n"));
    CHECK(has(text, "goes to      one of 2, by chance and capacity\n"));
    CHECK(has(text,
              "             ns/b 10.0.0.2:8080, by HBONE to 10.0.0.2:15008, who must prove to be td/ns/ns/sa/b\n"
              "  allowed    no, denied by ns/p, rules[0]: everything\n"));
    CHECK(
        has(text,
            "  allowed    yes, no policy applies to it (its own node decides, two: this is by what this node has)\n"));
    CHECK(explain_command.exit_status(json::parse({answer.data(), answer.size()})) == would_be_refused);
    CHECK(explain_command.exit_status(json::parse(R"({"allowed": null})")) == fine);
    CHECK(has(shown(explain_command, R"({"error": "no healthy upstream: 10.96.0.1:81"})"),
              "goes nowhere no healthy upstream: 10.96.0.1:81\n"));
}

TEST_CASE("explain: what nobody here can say is neither yes nor no, and notes are told") {
    constexpr std::string_view answer = R"({"captured": null, "why": "the pod is waiting", "error": null,
        "unknown": "istiod has not told who is at /10.0.0.9", "allowed": null,
        "source": {"pod": "ns/plain", "address": "10.0.0.1", "here": false, "identity": null},
        "endpoints": [{"pod": "ns/b", "address": "10.0.0.2:80", "path": "plaintext", "decided_by": "nobody",
                       "allowed": null, "why": "its pod is waiting", "notes": ["one", "two"]}]})";
    auto text = shown(explain_command, answer);
    CHECK(has(text, "source       ns/plain 10.0.0.1, not in the mesh\n"));
    CHECK(has(text, "captured     not known here, the pod is waiting\n"));
    CHECK(has(text, "goes to      not known here, istiod has not told who is at /10.0.0.9\n"));
    CHECK(has(text, "allowed      not known here, its pod is waiting\n  note       one\n  note       two\n"));
    CHECK_FALSE(has(text, "goes nowhere"));
    CHECK(has(shown(explain_command, R"({"captured": true, "answered": "this node's DNS server"})"),
              "answered by  this node's DNS server\n"));
}

TEST_CASE("pods: the daemon's own is told from the others") {
    auto text = shown(pods_command, R"({"pods": [
        {"name": "a", "namespace": "ns", "state": "in the mesh", "only_port": null},
        {"name": "zt", "namespace": "istio-system", "state": "in the mesh", "only_port": 15020}]})");
    CHECK(has(text, "\nistio-system/zt: the daemon's own pod: port 15020 can be reached by tunnels, nothing else\n"));
    CHECK_FALSE(has(text, "ns/a: the daemon's own"));
}

TEST_CASE("status: a node that is not ready says what it waits for, and is told from the exit status") {
    constexpr std::string_view answer = R"({"ready": false, "pending": ["pods", "certificates"],
        "pods": {"in_mesh": 1, "waiting": 2}, "config": {"file": "/etc/c.yaml", "error": "/etc/c.yaml:3: nonsense"},
        "repairs": [{"part": "rule", "count": 2}, {"part": "route", "count": 0}],
        "access_log": {"written": 5, "dropped": 3}})";
    auto text = shown(status_command, answer);
    CHECK(has(text, "not ready, waits for: pods, certificates\n"));
    CHECK(has(text, "1 in the mesh, 2 waiting"));
    CHECK(has(text, "/etc/c.yaml:3: nonsense"));
    CHECK(has(text, "2 rule\n"));
    CHECK(has(text, "5 lines written, 3 dropped\n"));
    CHECK(status_command.exit_status(json::parse({answer.data(), answer.size()})) == not_ready);
    CHECK(status_command.exit_status(json::parse(R"({"ready": true})")) == fine);
}

TEST_CASE("answers: one that lacks everything is shown, not choked on") {
    for (const Command* command :
         {&status_command, &pods_command, &connections_command, &policies_command, &explain_command, &reasons_command})
        CHECK_FALSE(shown(*command, "{}").empty());
}

}
