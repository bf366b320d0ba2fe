// SPDX-License-Identifier: Apache-2.0
// Plaintext that the kernel refuses by itself: at its SYN, at once, counted, with the line that the proxy would write.
#include <doctest/doctest.h>

#include <bpf/bpf.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <filesystem>
#include <fstream>
#include <regex>

#include "kernel_traces.hpp"
#include "outcome.hpp"
#include "policies.hpp"
#include "process.hpp"
#include "raw_packets.hpp"
#include "reasons.hpp"
#include "server.hpp"
#include "visit.hpp"
#include "world.hpp"

using namespace culvert::test;
using culvert::base::Fd;

namespace {

constexpr const char* ours = "the kernel judges in programs of ours; behind rules the proxy judges alone";

// The file of the second node with these policies; `named` by far's workload.
std::string file(World& world, const std::string& policies, const std::string& named = {}) {
    std::string yaml = world.mesh.yaml(2);
    const std::string start = "- {uid: \"" + Mesh::uid(world.far) + "\", ";
    yaml.insert(yaml.find(start, yaml.find("workloads:")) + start.size(), "authorizationPolicies: [" + named + "], ");
    return yaml + (policies.empty() ? "policies: []\n" : "policies:\n" + policies);
}

bool refused(const Pod& from, const SocketAddress& to) {
    const Attempt attempt = from.attempt(to);
    CHECK(attempt.took < 1s);
    return attempt.error == ECONNREFUSED;
}

// The proxy accepts first, and cuts then.
std::string answers(const Pod& from, const SocketAddress& to) {
    try {
        return from.dial(to).echoes("may I?") ? "yes" : "no";
    } catch (const std::system_error&) {
        return "no";
    }
}

Fd rows_of(const Node& node) {
    return Fd{bpf_obj_get((pin_folder(node) + "/cv_policy").c_str())};
}
bool has_row(const Node& node) {
    std::uint64_t key = 0;
    return bpf_map_get_next_key(rows_of(node).get(), nullptr, &key) == 0;
}
void take_row_away(const Node& node) {
    const Fd rows = rows_of(node);
    std::uint64_t key = 0;
    REQUIRE(bpf_map_get_next_key(rows.get(), nullptr, &key) == 0);
    REQUIRE(bpf_map_delete_elem(rows.get(), &key) == 0);
}

AccessLine line_of(Node& node, const std::string& error) {
    return node.access_log().wait_for({{"direction", "inbound"}, {"error", error}});
}

// All of the daemon's threads, to the nanosecond.
std::chrono::nanoseconds cpu(const Node& node) {
    std::chrono::nanoseconds sum{};
    for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(node.pid()) + "/task")) {
        long long ran = 0;
        std::ifstream{task.path() / "schedstat"} >> ran;
        sum += std::chrono::nanoseconds{ran};
    }
    return sum;
}

// From that many ports, and addresses, of nobody's.
void flood(int netns, const SocketAddress& to, int count) {
    constexpr int batch = 500;
    std::vector<std::string> packets;
    for (int i = 0; i < batch; ++i) {
        SocketAddress from{*IpAddress::parse("198.18.0.1"), static_cast<std::uint16_t>(2000 + i)};
        from.ip.bytes[15] = static_cast<std::uint8_t>(1 + i % 250);
        packets.push_back(ipv4_syn(from, to));
    }
    visit(netns, [&] {
        Fd socket{::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW)};
        sockaddr_storage raw{};
        const socklen_t length = to.to(raw);
        reinterpret_cast<sockaddr_in*>(&raw)->sin_port = 0;
        std::vector<iovec> bytes;
        for (std::string& packet : packets) bytes.push_back({packet.data(), packet.size()});
        std::vector<mmsghdr> all(batch);
        for (int i = 0; i < batch; ++i) {
            all[i].msg_hdr.msg_name = &raw;
            all[i].msg_hdr.msg_namelen = length;
            all[i].msg_hdr.msg_iov = &bytes[i];
            all[i].msg_hdr.msg_iovlen = 1;
        }
        for (int sent = 0; sent < count;) {
            const int more = ::sendmmsg(socket.get(), all.data(), std::min(batch, count - sent), 0);
            if (more > 0) sent += more;
            if (more < 0 && errno != ENOBUFS) throw std::system_error(errno, std::system_category(), "sendmmsg");
        }
    });
}

// What the lines at the end of the intervals say of those that have no line of their own.
std::size_t unsaid(const Node& node) {
    std::ifstream log{node.log_path()};
    const std::regex words{"(\\d+) more plain connections were refused by the kernel"};
    std::size_t sum = 0;
    std::smatch found;
    for (std::string line; std::getline(log, line);)
        if (std::regex_search(line, found, words)) sum += std::stoul(found[1]);
    return sum;
}

}

TEST_SUITE("policy_kernel") {

TEST_CASE(
    "policy_kernel: STRICT refuses plaintext at its SYN, lets tunnels and probes in, and a flip opens it "
    "again" BOTH_FAMILIES EBPF_ONLY(ours)) {
    World& world = World::shared();
    Server far{world.far.netns(), 8080, apps::echo};
    Policies policies{world};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        const auto to = world.far.at(family, 8080);
        ReasonCount refusals{world.two, "POLICY_REFUSED"}, inbound{world.two, "TO_INBOUND"};
        policies.publish(strict, "ns/strict", &world.far);
        world.mark();
        CHECK(refused(world.plain2, to));
        CHECK(refused(world.plain1, to));
        CHECK(refusals.rises(2));
        CHECK(inbound.rise() == 0);
        const auto line = line_of(world.two, denied + "ns/strict");
        CHECK(line.level == "error");
        CHECK(line["src.addr"].starts_with(world.plain2.ip(family).is_v4()
                                               ? world.plain2.ip(family).to_string() + ":"
                                               : "[" + world.plain2.ip(family).to_string() + "]:"));
        CHECK(line["dst.addr"] == to.to_string());
        CHECK(line["dst.workload"] == "far");
        const std::string rows = dump_map(world.two, "cv_policy");
        CHECK_MESSAGE(rows.find("CV_POLICY_REFUSE") != std::string::npos, rows);
        CHECK_MESSAGE(rows.find("CV_POLICY_WHOLE") != std::string::npos, rows);

        CHECK(world.client.dial(to).echoes("sealed"));
        CHECK(Connection::open(world.lab.node_netns(2), {.to = to}).echoes("are you alive?"));

        policies.publish("");
        CHECK(world.plain2.dial(to).echoes("open again"));
        CHECK(inbound.rises(1));
        CHECK(dump_map(world.two, "cv_policy").find("CV_POLICY_REFUSE") == std::string::npos);
    }
}

TEST_CASE(
    "policy_kernel: a source and a port are refused, those beside them are not; what takes more is the proxy's" IPV4
        EBPF_ONLY(ours)) {
    World& world = World::shared();
    Server a{world.far.netns(), 8080, apps::echo}, b{world.far.netns(), 8081, apps::echo};
    Policies policies{world};
    const auto to = world.far.at(Family::v4, 8080), beside = world.far.at(Family::v4, 8081);
    ReasonCount refusals{world.two, "POLICY_REFUSED"}, inbound{world.two, "TO_INBOUND"};
    const std::string own = "sourceIps: [" + world.plain2.ip(Family::v4).to_string() + "/32]";
    policies.publish(policy("no", "Global", "Deny", own + ", destinationPorts: [8080]"));
    world.mark();
    CHECK(refused(world.plain2, to));
    CHECK(refusals.rises(1));
    const auto by_kernel = line_of(world.two, denied + "ns/no");
    CHECK(world.plain2.dial(beside).echoes("another port"));
    CHECK(world.plain1.dial(to).echoes("another source"));
    CHECK(refusals.rise() == 1);
    const std::string rows = dump_map(world.two, "cv_policy");
    CHECK_MESSAGE(rows.find("\"from_port\": 8080") != std::string::npos, rows);
    CHECK_MESSAGE(rows.find("\"prefix\": 32") != std::string::npos, rows);

    policies.publish(policy("no", "Global", "Deny", own + ", destinationIps: [" + to.ip.to_string() + "]"));
    world.mark();
    CHECK(fate(world.plain2.netns(), {.to = to}) == "reset");
    CHECK(refusals.rise() == 1);
    const auto by_proxy = line_of(world.two, denied + "ns/no");
    CHECK(by_kernel.shape() == by_proxy.shape());
    CHECK(by_kernel.message == by_proxy.message);
    CHECK(by_kernel.level == by_proxy.level);
    CHECK(world.two.metrics()["culvert_policy_decisions_total{policy=\"ns/no\"}"] >= 2);
}

TEST_CASE("policy_kernel: 50 000 SYNs that are refused cost the daemon next to nothing, and not one is forgotten" IPV4
              EBPF_ONLY(ours)) {
    World& world = World::shared();
    constexpr int count = 50'000;
    Policies policies{world};
    policies.publish(strict, "ns/strict", &world.far);
    ReasonCount refusals{world.two, "POLICY_REFUSED"}, full{world.two, "EVENTS_FULL"};
    world.mark();
    const std::size_t unsaid_before = unsaid(world.two);
    const auto before = cpu(world.two);
    const Stopwatch watch;
    flood(world.lab.node_netns(2), world.far.at(Family::v4, 8080), count);
    const auto took = watch.elapsed();
    std::size_t lines = 0, others = 0;
    const bool told = eventually(25s, [&] {
        others = unsaid(world.two) - unsaid_before;
        lines = world.two.access_log().since_mark().size();
        return lines + others >= count;
    });
    const auto spent = std::chrono::duration<double, std::milli>(cpu(world.two) - before).count();
    MESSAGE(count << " SYNs in " << took.count() << " ms: " << spent << " ms of the daemon's CPU, " << lines
                  << " lines, " << full.rise() << " found no room");
    CHECK(told);
    CHECK(lines + others == count);
    CHECK(lines <= 150);
    CHECK(refusals.rise() == count);
    CHECK(spent < 50);
}

TEST_CASE("policy_kernel: a daemon that comes after another refuses by its own file, and cleanup leaves nothing" IPV4
              EBPF_ONLY(ours)) {
    World world;
    Server far{world.far.netns(), 8080, apps::echo};
    const auto to = world.far.at(Family::v4, 8080);
    world.two.configure(file(world, strict, "ns/strict"));
    CHECK(world.two.says({"applied"}));
    CHECK(refused(world.plain2, to));
    Process old = world.two.start_successor(culvertd());
    old.signal(SIGTERM);
    CHECK(old.wait(20s) == 0);
    world.mark();
    CHECK(refused(world.plain2, to));
    line_of(world.two, denied + "ns/strict");
    // Somebody takes the row away: the proxy refuses until it is put back.
    take_row_away(world.two);
    CHECK_FALSE(has_row(world.two));
    CHECK(answers(world.plain2, to) == "no");
    CHECK(eventually(5s, [&] { return has_row(world.two); }));
    CHECK(world.two.metrics()["culvert_capture_repairs_total{part=\"policy\"}"] >= 1);
    // While nobody is there nothing is open, and the next one's file counts.
    world.two.kill9();
    CHECK(refused(world.plain2, to));
    world.two.configure(file(world, ""));
    world.two.start();
    CHECK(world.plain2.dial(to).echoes("open"));
    CHECK_FALSE(has_row(world.two));
    world.two.configure(file(world, strict, "ns/strict"));
    CHECK(eventually(5s, [&] { return has_row(world.two); }));
    world.mesh.workload(world.far).enrolled = false;
    world.two.configure(file(world, strict, "ns/strict"));
    CHECK(world.two.says({"far", "has left the mesh"}));
    CHECK_FALSE(has_row(world.two));
    CHECK(world.plain2.dial(to).echoes("none of ours"));
}

}
