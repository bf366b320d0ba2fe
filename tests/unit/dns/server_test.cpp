// SPDX-License-Identifier: Apache-2.0
// The server with its thread and real sockets; namespaces and marks are for the netns tests.
#include <culvert/dns/server.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "nameserver.hpp"
#include "support/wait.hpp"

using namespace culvert;
using namespace culvert::dns;
using namespace std::chrono_literals;

namespace {

state::SnapshotPtr mesh(const std::string& canonical_name = "shop") {
    state::Workload client;
    client.uid = "client";
    client.name = "client";
    client.namespace_ = "ns1";
    client.canonical_name = canonical_name;
    client.canonical_revision = "v1";
    state::Service web;
    web.name = "web";
    web.namespace_ = "ns1";
    web.hostname = "web.ns1.svc.cluster.local";
    web.vips = {{"", base::IpAddress::parse("10.1.0.1").value()}};
    state::Service large = web;
    large.hostname = "large.io";
    large.vips.clear();
    for (int i = 1; i < 100; ++i)
        large.vips.push_back({"", base::IpAddress::parse("10.2.0." + std::to_string(i)).value()});
    return std::make_shared<const state::Snapshot>(std::vector{client}, std::vector{web, large});
}

class Door {
public:
    explicit Door(Settings settings, std::vector<const char*> nameservers = {"127.0.0.1"},
                  state::SnapshotPtr known = mesh()) {
        char name[] = "/tmp/resolv-XXXXXX";
        int file = ::mkstemp(name);
        REQUIRE(file >= 0);
        ::close(file);
        conf_ = name;
        std::ofstream out{conf_};
        out << "search a.b\n# none of these: nameserver 1.2.3.4\n";
        for (auto one : nameservers) out << "nameserver " << one << "\n";
        out.close();
        settings.resolv_conf = conf_;
        server_ = std::make_unique<Server>(std::move(settings));
        server_->publish(std::move(known));
        base::Fd udp = bound(SOCK_DGRAM, "127.0.0.1", 0), tcp = bound(SOCK_STREAM, "127.0.0.1", 0);
        for (int fd : {udp.get(), tcp.get()}) ::fcntl(fd, F_SETFL, O_NONBLOCK);
        udp_ = base::local_address(udp.get());
        tcp_ = base::local_address(tcp.get());
        std::vector<Listener> listeners;
        listeners.push_back({Transport::udp, std::move(udp)});
        listeners.push_back({Transport::tcp, std::move(tcp)});
        auto netns = std::make_shared<const base::Fd>(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
        server_->add_pod({"uid", "ns1/client", "client", netns}, std::move(listeners));
        client_ = base::Fd{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
        timeval limit{10, 0};
        ::setsockopt(client_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    }
    ~Door() {
        server_.reset();
        std::filesystem::remove(conf_);
    }

    void send(const Bytes& request) {
        sockaddr_storage raw;
        socklen_t size = udp_.to(raw);
        ::sendto(client_.get(), request.data(), request.size(), 0, reinterpret_cast<sockaddr*>(&raw), size);
    }
    Bytes receive() {
        Bytes answer(65535);
        auto got = ::recv(client_.get(), answer.data(), answer.size(), 0);
        REQUIRE(got >= 12);
        answer.resize(static_cast<std::size_t>(got));
        return answer;
    }
    Bytes by_udp(const Bytes& request) {
        send(request);
        Bytes answer = receive();
        CHECK(id_of(answer) == id_of(request));
        return answer;
    }
    base::Fd connect() {
        base::Fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        sockaddr_storage raw;
        socklen_t size = tcp_.to(raw);
        REQUIRE(::connect(fd.get(), reinterpret_cast<sockaddr*>(&raw), size) == 0);
        timeval limit{10, 0};
        ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        return fd;
    }
    static Bytes converse(int fd, const Bytes& request) {
        Bytes framed;
        put16(framed, static_cast<unsigned>(request.size()));
        framed.insert(framed.end(), request.begin(), request.end());
        ::send(fd, framed.data(), framed.size(), MSG_NOSIGNAL);
        std::uint8_t length[2];
        if (::recv(fd, length, 2, MSG_WAITALL) != 2) return {};
        Bytes answer(static_cast<std::size_t>(length[0] << 8 | length[1]));
        REQUIRE(::recv(fd, answer.data(), answer.size(), MSG_WAITALL) == static_cast<ssize_t>(answer.size()));
        return answer;
    }
    Bytes by_tcp(const Bytes& request) { return converse(connect().get(), request); }

    // "name{labels}", summed; histograms by how many.
    double metric(const std::string& name, const std::string& label = "", const std::string& value = "") {
        std::vector<prometheus::MetricFamily> families;
        server_->collect(families);
        double sum = 0;
        for (const auto& family : families)
            for (const auto& one : family.metric) {
                bool fits = label.empty();
                for (const auto& l : one.label) fits = fits || (l.name == label && l.value == value);
                if (family.name == name && fits)
                    sum += one.counter.value + static_cast<double>(one.histogram.sample_count);
            }
        return sum;
    }
    Server& server() { return *server_; }
    void leave(std::chrono::milliseconds deadline) {
        std::atomic<bool> gone = false;
        server_->remove_pod("uid", deadline, [&] { gone = true; });
        for (int i = 0; i < 1000 && !gone; ++i) ::usleep(10'000);
        REQUIRE(gone);
    }
    // By its TCP listener.
    bool is_served() const {
        base::Fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        sockaddr_storage raw;
        socklen_t size = tcp_.to(raw);
        return ::connect(fd.get(), reinterpret_cast<sockaddr*>(&raw), size) == 0;
    }

private:
    std::string conf_;
    std::unique_ptr<Server> server_;
    base::SocketAddress udp_, tcp_;
    base::Fd client_;
};

Says one_address(const char* ip) {
    return [ip](const Bytes& request) { return std::vector<Bytes>{answer_with(request, {ip})}; };
}

Settings at(const Nameserver& nameserver) {
    Settings settings;
    settings.nameserver_port = nameserver.port();
    settings.next_server = 1s;
    settings.give_up = 20s;  // on a busy machine, too
    return settings;
}

}

TEST_SUITE("dns") {

TEST_CASE("server: what the mesh knows is answered, the rest is forwarded, by both transports") {
    Nameserver upstream{"127.0.0.1", 0, one_address("9.9.9.9")};
    Door door{at(upstream)};
    for (bool tcp : {false, true}) {
        CAPTURE(tcp);
        auto ask = [&](const Bytes& request) { return tcp ? door.by_tcp(request) : door.by_udp(request); };
        Reading known{ask(request({.name = "web.ns1"}))};
        CHECK(known.records == std::vector<std::string>{"web.ns1 30 A 10.1.0.1"});
        CHECK(known.authoritative);
        CHECK(upstream.asked() == (tcp ? 2 : 0));
        Reading foreign{ask(request({.name = "Example.com", .payload = 1232}))};
        CHECK(foreign.records == std::vector<std::string>{"Example.com 30 A 9.9.9.9"});
        CHECK(!foreign.authoritative);
        CHECK(foreign.available);
        Reading other_type{ask(request({.name = "web.ns1", .type = 16}))};
        CHECK(!other_type.authoritative);
        CHECK(upstream.asked() == (tcp ? 4 : 2));
    }
    CHECK(door.metric("istio_dns_requests_total") == 6);
    CHECK(door.metric("istio_dns_requests_total", "request_protocol", "tcp") == 3);
    CHECK(door.metric("istio_dns_requests_total", "request_query_type", "TXT") == 2);
    CHECK(door.metric("istio_dns_requests_total", "source_canonical_service", "shop") == 6);
    CHECK(door.metric("istio_dns_upstream_requests_total") == 4);
    CHECK(door.metric("istio_dns_upstream_request_duration_seconds") == 4);
    CHECK(door.metric("istio_dns_upstream_failures_total") == 0);
}

TEST_CASE("server: a long answer is cut by UDP, whole by TCP") {
    Nameserver upstream{"127.0.0.1", 0, one_address("9.9.9.9")};
    Door door{at(upstream)};
    Bytes cut = door.by_udp(request({.name = "large.io"}));
    CHECK(cut.size() <= 512);
    CHECK(Reading{cut}.truncated);
    Reading whole{door.by_tcp(request({.name = "large.io"}))};
    CHECK(!whole.truncated);
    CHECK(whole.records.size() == 99);
}

TEST_CASE("server: one connection carries several questions, and ends when it is idle") {
    Nameserver upstream{"127.0.0.1", 0, one_address("9.9.9.9")};
    Settings settings = at(upstream);
    settings.idle = 1s;
    Door door{settings};
    auto fd = door.connect();
    for (int i = 0; i < 3; ++i) CHECK(Reading{Door::converse(fd.get(), request({.name = "web"}))}.records.size() == 1);
    char byte;
    CHECK(::recv(fd.get(), &byte, 1, 0) == 0);
}

TEST_CASE("server: without a nameserver there it says SERVFAIL at once") {
    std::uint16_t nobody;
    { nobody = Nameserver{"127.0.0.1", 0, one_address("9.9.9.9")}.port(); }
    Settings settings;
    settings.nameserver_port = nobody;
    settings.give_up = 60s;
    settings.next_server = 30s;
    Door door{settings, {"127.0.0.1", "127.0.0.2"}};
    CHECK(Reading{door.by_udp(request({.name = "example.com"}))}.rcode == 2);
    CHECK(Reading{door.by_tcp(request({.name = "example.com"}))}.rcode == 2);
    CHECK(door.metric("istio_dns_upstream_failures_total") == 2);
    CHECK(Reading{door.by_udp(request({.name = "web"}))}.rcode == 0);
}

TEST_CASE("server: with a silent nameserver it gives up in time") {
    Nameserver silent{"127.0.0.1", 0, [](const Bytes&) { return std::vector<Bytes>{}; }};
    Settings settings = at(silent);
    settings.next_server = 150ms;
    settings.give_up = 600ms;
    Door door{settings};
    auto begun = std::chrono::steady_clock::now();
    CHECK(Reading{door.by_udp(request({.name = "example.com"}))}.rcode == 2);
    auto took = std::chrono::steady_clock::now() - begun;
    CHECK(took >= 600ms);
    CHECK(took < 9s);
    CHECK(silent.asked() > 1);  // again, for datagrams get lost
}

TEST_CASE("server: the next nameserver is asked when one is silent or refuses, and comes first for a while") {
    Nameserver second{"127.0.0.2", 0, one_address("2.2.2.2")};
    SUBCASE("silent") {
        Nameserver first{"127.0.0.1", second.port(), [](const Bytes&) { return std::vector<Bytes>{}; }};
        Door door{at(second), {"127.0.0.1", "127.0.0.2"}};
        for (int i = 0; i < 3; ++i) CHECK(Reading{door.by_udp(request({.name = "example.com"}))}.records.size() == 1);
        CHECK(first.asked() == 1);
    }
    SUBCASE("refuses") {
        Nameserver first{"127.0.0.1", second.port(),
                         [](const Bytes& request) { return std::vector<Bytes>{write_error(request, Rcode::failed)}; }};
        Door door{at(second), {"127.0.0.1", "127.0.0.2"}};
        CHECK(Reading{door.by_udp(request({.name = "example.com"}))}.records.size() == 1);
        CHECK(Reading{door.by_tcp(request({.name = "example.com"}))}.records.size() == 1);
        CHECK(first.asked() == 2);
    }
    SUBCASE("both refuse") {
        Nameserver first{"127.0.0.1", second.port(),
                         [](const Bytes& request) { return std::vector<Bytes>{write_error(request, Rcode::failed)}; }};
        Door door{at(second), {"127.0.0.1"}};
        CHECK(Reading{door.by_udp(request({.name = "example.com"}))}.rcode == 2);
        CHECK(door.metric("istio_dns_upstream_failures_total") == 0);  // somebody answered
    }
}

TEST_CASE("server: what does not answer the question is not believed") {
    Nameserver liar{"127.0.0.1", 0, [](const Bytes& asked) {
                        Bytes wrong_id = answer_with(asked, {"6.6.6.6"});
                        wrong_id[0] ^= 1;
                        Bytes other = request({.name = "evil.com", .id = id_of(asked)});
                        return std::vector<Bytes>{wrong_id, answer_with(other, {"6.6.6.6"}), asked, Bytes{1, 2, 3},
                                                  answer_with(asked, {"1.1.1.1"})};
                    }};
    Door door{at(liar)};
    for (auto answer : {door.by_udp(request({.name = "good.com"})), door.by_tcp(request({.name = "good.com"}))})
        CHECK(Reading{answer}.records == std::vector<std::string>{"good.com 30 A 1.1.1.1"});
}

TEST_CASE("server: requests that cannot be served are told so, answers are not answered") {
    Nameserver upstream{"127.0.0.1", 0, one_address("9.9.9.9")};
    Door door{at(upstream)};
    CHECK(Reading{door.by_udp(request({.name = "a", .flags = 0x28}))}.rcode == 4);
    Bytes cut = request({.name = "a"});
    cut.pop_back();
    CHECK(Reading{door.by_udp(cut)}.rcode == 1);
    Reading version{door.by_udp(request({.name = "web", .payload = 512, .version = 1}))};
    CHECK(version.extended == 1);
    door.send(request({.name = "web", .id = 1, .flags = 0x81}));
    door.send(Bytes{1, 2, 3});
    CHECK(id_of(door.by_udp(request({.name = "web", .id = 2}))) == 2);
    CHECK(door.metric("culvert_dns_no_requests_total") == 2);
    CHECK(Door::converse(door.connect().get(), request({.name = "web", .flags = 0x81})).empty());
}

TEST_CASE("server: of a pod that the mesh does not know it says SERVFAIL, and later what it knows") {
    Nameserver upstream{"127.0.0.1", 0, one_address("9.9.9.9")};
    Door door{at(upstream),
              {"127.0.0.1"},
              std::make_shared<const state::Snapshot>(std::vector<state::Workload>{}, std::vector<state::Service>{})};
    CHECK(Reading{door.by_udp(request({.name = "web"}))}.rcode == 2);
    CHECK(door.metric("istio_dns_requests_total", "source_canonical_service", "unknown") == 1);
    CHECK(upstream.asked() == 0);
    // The server's thread takes the mesh in its own time.
    door.server().publish(mesh());
    CHECK(test::eventually(10s, [&] { return Reading{door.by_udp(request({.name = "web"}))}.records.size() == 1; }));
}

TEST_CASE("server: a pod has so many questions and connections at a time") {
    Nameserver silent{"127.0.0.1", 0, [](const Bytes&) { return std::vector<Bytes>{}; }};
    Settings settings = at(silent);
    settings.questions_per_pod = 2;
    settings.connections_per_pod = 1;
    settings.give_up = 30s;
    settings.next_server = 30s;
    Door door{settings};
    door.send(request({.name = "a.com"}));
    door.send(request({.name = "b.com"}));
    CHECK(Reading{door.by_udp(request({.name = "c.com", .id = 9}))}.rcode == 2);
    CHECK(Reading{door.by_udp(request({.name = "web", .id = 10}))}.rcode == 0);
    auto one = door.connect();
    CHECK(!Door::converse(one.get(), request({.name = "web"})).empty());
    CHECK(door.by_tcp(request({.name = "web"})).empty());
    CHECK(door.metric("culvert_dns_over_limit_total") == 2);
}

TEST_CASE("server: a pod that has left is not answered, and its ports are free") {
    Nameserver upstream{"127.0.0.1", 0, one_address("9.9.9.9")};
    Door door{at(upstream)};
    CHECK(!door.by_udp(request({.name = "web"})).empty());
    door.leave(10s);
    CHECK(!door.is_served());
    CHECK(door.metric("istio_dns_requests_total") == 1);
}

TEST_CASE("server: what a pod that leaves has asked is answered, within the deadline") {
    std::atomic<bool> slow = true;
    Nameserver upstream{"127.0.0.1", 0, [&](const Bytes& asked) {
                            while (slow) ::usleep(1000);
                            return std::vector<Bytes>{answer_with(asked, {"9.9.9.9"})};
                        }};
    Settings settings = at(upstream);
    settings.next_server = settings.give_up = 30s;
    Door door{settings};
    door.send(request({.name = "example.com"}));
    while (upstream.asked() == 0) ::usleep(1000);
    SUBCASE("in time") {
        std::thread later{[&] {
            ::usleep(50'000);
            slow = false;
        }};
        door.leave(20s);
        later.join();
        CHECK(Reading{door.receive()}.records.size() == 1);
    }
    SUBCASE("too late") {
        door.leave(20ms);
        slow = false;
        CHECK(!door.is_served());
    }
}

}
