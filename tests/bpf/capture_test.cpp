// SPDX-License-Identifier: Apache-2.0
// Capture as a daemon uses it, on real sockets: one node, one pod. The test plays the proxy.
#include <doctest/doctest.h>

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <functional>
#include <string>
#include <thread>

#include <boost/asio/io_context.hpp>

#include <culvert/base/netns.hpp>
#include <culvert/capture/capture.hpp>

#include "netns.hpp"

namespace culvert::test {

namespace {

using base::Fd;
using capture::Arrival;
using capture::Capture;
using capture::OwnSocket;

std::string fresh_instance() {
    static int counter;
    return "test-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
}

// The daemon's side. Must live on a thread that is in the node's namespace (see on_node).
class Daemon {
public:
    Daemon(const Namespaces& where, std::string instance) : where_{where}, instance_{std::move(instance)} {
        auto started = Capture::start(io_, {.instance = instance_, .workers = 2, .max_pods = 8, .max_flows = 64});
        if (!started) throw std::runtime_error{started.error().to_string()};
        capture_ = std::move(*started);
    }
    void enrol() {
        auto opened = capture_->listen(spec());
        if (!opened) throw std::runtime_error{opened.error().to_string()};
        listeners_ = std::move(*opened);
        if (auto done = capture_->enrol(spec(), listeners_); !done) throw std::runtime_error{done.error().to_string()};
    }
    capture::PodSpec spec() const { return {"uid-1", "test/pod", where_.pod()}; }
    void kill() {  // what the kernel sees of kill -9
        capture_.reset();
        listeners_.clear();
    }
    void handle_events(int limit_ms = 50) {
        io_.restart();
        io_.run_for(std::chrono::milliseconds{limit_ms});
    }

    // Whichever worker gets it.
    Fd accept(Arrival arrival, int family, int limit_ms = 300) const {
        for (int waited = 0; waited <= limit_ms; waited += 10)
            for (const auto& listener : listeners_)
                if (listener.arrival == arrival && listener.family == family)
                    if (Fd fd = accept_from(listener.fd.get(), 5)) return fd;
        return {};
    }
    std::uint64_t count(const std::string& reason) const {
        for (const auto& one : capture_->reasons())
            if (one.name == reason) return one.count;
        throw std::runtime_error{"no such reason: " + reason};
    }
    // Every reason that occurred, for messages.
    std::string reasons() const {
        std::string text;
        for (const auto& one : capture_->reasons())
            if (one.count) text += one.name + "=" + std::to_string(one.count) + " ";
        return text;
    }
    Capture& operator*() { return *capture_; }
    Capture* operator->() { return capture_.get(); }
    const std::string& instance() const { return instance_; }

private:
    boost::asio::io_context io_;
    const Namespaces& where_;
    std::string instance_;
    std::unique_ptr<Capture> capture_;
    std::vector<capture::Listener> listeners_;
};

// Runs the scenario on a thread whose home is the node's namespace, and cleans up whatever it leaves.
void on_node(const std::function<void(Namespaces&)>& scenario, NamespaceOptions options = {}) {
    Namespaces where{options};
    std::exception_ptr failure;
    std::thread node{[&] {
        REQUIRE(::setns(where.node(), CLONE_NEWNET) == 0);
        try {
            scenario(where);
        } catch (...) {
            failure = std::current_exception();
        }
    }};
    node.join();
    if (failure) std::rethrow_exception(failure);
}

// Outlives the daemon, whatever happens to the scenario.
struct Cleaned {
    std::string instance = fresh_instance();
    ~Cleaned() { CHECK(Capture::cleanup(instance).has_value()); }
};

struct Row {
    std::string name;
    int family;
    Pair at;
};
const Row families[] = {{"IPv4", AF_INET, ipv4}, {"IPv6", AF_INET6, ipv6}};

}

TEST_SUITE("capture") {

TEST_CASE("outbound: a connect to an address that nobody owns reaches the proxy, which sees where it was going") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance};
        daemon.enrol();
        Tap wire{where};
        for (const Row& row : families) {
            CAPTURE(row.name);
            for (auto [port, mark] : {std::pair{80, 0}, std::pair{15008, 0x539}, std::pair{443, 0x7111}}) {
                CAPTURE(mark);
                auto app = connect_in(where.pod(), row.at.vip, static_cast<std::uint16_t>(port), {.mark = mark});
                CHECK(app.error == 0);
                Fd proxy = daemon.accept(Arrival::outbound, row.family);
                REQUIRE(bool(proxy));
                CHECK(base::local_address(proxy.get()).ip.to_string() == row.at.vip);
                CHECK(base::local_address(proxy.get()).port == port);
                CHECK(base::peer_address(proxy.get()).ip.to_string() == row.at.pod);
                CHECK(base::peer_address(app.fd.get()).ip.to_string() == row.at.vip);
            }
        }
        CHECK(wire.tcp_packets() == 0);
        CHECK(daemon.count("CONNECT_CAPTURED") == 6);
        CHECK(daemon.count("TO_OUTBOUND") == 6);
    });
}

TEST_CASE("outbound: a socket bound to the pod's interface is captured too") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance};
        daemon.enrol();
        Tap wire{where};
        for (const Row& row : families) {
            CAPTURE(row.name);
            auto app = connect_in(where.pod(), row.at.vip, 80, {.device = "eth0"});
            CHECK(app.error == 0);
            CHECK(bool(daemon.accept(Arrival::outbound, row.family)));
        }
        CHECK(wire.tcp_packets() == 0);
    });
}

TEST_CASE("inbound: a plain connection and a tunnel reach their listeners, also when the app listens there") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance};
        daemon.enrol();
        // Of another node: seen from here its sockets are nobody's probes.
        for (const Row& row : families) {
            CAPTURE(row.name);
            Fd app = listen_in(where.pod(), row.at.pod, 8080);
            Fd squatter = listen_in(where.pod(), row.at.pod, 15008);
            for (auto [port, arrival] : {std::pair{8080, Arrival::inbound_plain}, std::pair{9, Arrival::inbound_plain},
                                         std::pair{15008, Arrival::inbound_hbone}}) {
                CAPTURE(port);
                auto claimed = base::in_netns(where.node(), [&] {
                    return Fd{::socket(row.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
                });
                REQUIRE(daemon->claim(claimed->get(), OwnSocket::dial).has_value());  // not a probe
                sockaddr_storage raw{};
                socklen_t size =
                    base::SocketAddress{*base::IpAddress::parse(row.at.pod), static_cast<std::uint16_t>(port)}.to(raw);
                ::connect(claimed->get(), reinterpret_cast<sockaddr*>(&raw), size);
                Fd proxy = daemon.accept(arrival, row.family);
                REQUIRE(bool(proxy));
                CHECK(base::local_address(proxy.get()).port == port);
                CHECK(base::peer_address(proxy.get()).ip.to_string() == row.at.node);
            }
            CHECK(!accept_from(app.get(), 20));
            CHECK(!accept_from(squatter.get(), 20));
        }
        CHECK(daemon.count("TO_TUNNEL") == 2);
        CHECK(daemon.count("TO_INBOUND") == 4);
    });
}

TEST_CASE("loopback and own address: left alone") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance};
        daemon.enrol();
        for (auto [any, to] : {std::pair{"0.0.0.0", "127.0.0.1"}, std::pair{"0.0.0.0", ipv4.pod}, std::pair{"::", "::1"},
                               std::pair{"::", ipv6.pod}}) {
            CAPTURE(to);
            Fd app = listen_in(where.pod(), any, 8080);
            auto client = connect_in(where.pod(), to, 8080);
            CHECK(client.error == 0);
            CHECK(bool(accept_from(app.get())));
        }
        CHECK(daemon.count("CONNECT_LOOPBACK") == 2);
        CHECK(daemon.count("CONNECT_SELF") == 2);
        CHECK(daemon.count("CONNECT_CAPTURED") == 0);
    });
}

TEST_CASE("probe: a socket of the node's namespace reaches the app itself") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance};
        daemon.enrol();
        for (const Row& row : families) {
            CAPTURE(row.name);
            Fd app = listen_in(where.pod(), row.at.pod, 8080);
            auto probe = connect_in(where.node(), row.at.pod, 8080);
            INFO(daemon.reasons());
            CHECK(probe.error == 0);
            CHECK(bool(accept_from(app.get())));
        }
        CHECK(daemon.count("CONNECT_PROBE") == 2);
        CHECK(daemon.count("PASS_PROBE") == 2);
    });
}

TEST_CASE("own sockets: a dial leaves the pod unmarked, a leg in the client's name reaches the app and comes home") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance};
        daemon.enrol();
        for (const Row& row : families) {
            CAPTURE(row.name);
            Fd server = listen_in(where.node(), row.at.node, 80);
            Fd app = listen_in(where.pod(), row.at.pod, 8080);
            auto open_claimed = [&](OwnSocket kind) {
                auto fd = base::in_netns(where.pod(), [&] {
                    return Fd{::socket(row.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
                });
                REQUIRE(daemon->claim(fd->get(), kind).has_value());
                return std::move(*fd);
            };
            auto dial_to = [&](int fd, const char* ip, std::uint16_t port) {
                sockaddr_storage raw{};
                socklen_t size = base::SocketAddress{*base::IpAddress::parse(ip), port}.to(raw);
                ::connect(fd, reinterpret_cast<sockaddr*>(&raw), size);
            };
            Fd dial = open_claimed(OwnSocket::dial);
            dial_to(dial.get(), row.at.node, 80);
            CHECK(bool(accept_from(server.get())));

            Fd leg = open_claimed(OwnSocket::inbound_leg);
            int one = 1;
            ::setsockopt(leg.get(), row.family == AF_INET ? SOL_IP : SOL_IPV6,
                         row.family == AF_INET ? 19 /* IP_TRANSPARENT */ : 75 /* IPV6_TRANSPARENT */, &one, sizeof one);
            const char* client = row.family == AF_INET ? "198.51.100.7" : "fd99::7";
            sockaddr_storage raw{};
            socklen_t size = base::SocketAddress{*base::IpAddress::parse(client), 61234}.to(raw);
            REQUIRE(::bind(leg.get(), reinterpret_cast<sockaddr*>(&raw), size) == 0);
            dial_to(leg.get(), row.at.pod, 8080);
            Fd accepted = accept_from(app.get());
            REQUIRE(bool(accepted));
            CHECK(base::peer_address(accepted.get()).ip.to_string() == client);
            REQUIRE(::send(accepted.get(), "hello", 5, 0) == 5);
            char heard[8];
            ::usleep(20000);
            CHECK(::recv(leg.get(), heard, sizeof heard, 0) == 5);

            auto flow = daemon->flows().claim(leg.get());
            flow.identify("spiffe://cluster.local/ns/a/sa/b", "spiffe://cluster.local/ns/c/sa/d");
            flow.moved(3, 5);
            std::string dump = where.run("bpftool map dump pinned /sys/fs/bpf/culvert/" + daemon.instance() + "/cv_flows");
            CHECK(dump.find("spiffe://cluster.local/ns/a/sa/b") != std::string::npos);
            CHECK(dump.find("CV_FLOW_INBOUND_TUNNEL") != std::string::npos);
        }
        CHECK(daemon.count("CONNECT_OWN") == 2);
        CHECK(daemon.count("PASS_LEG") == 2);
    });
}

TEST_CASE("refusal: with the daemon dead a connect fails at once and nothing is on the wire; a new daemon takes over") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Fd server4 = listen_in(where.node(), ipv4.node, 80), server6 = listen_in(where.node(), ipv6.node, 80);
        for (int life = 0; life < 2; ++life) {
            CAPTURE(life);
            Daemon daemon{where, after.instance};
            daemon.enrol();
            for (const Row& row : families) {
                auto app = connect_in(where.pod(), row.at.node, 80);
                CHECK(app.error == 0);
                CHECK(bool(daemon.accept(Arrival::outbound, row.family)));
            }
            daemon.kill();
            Tap wire{where};
            for (const Row& row : families) {
                CAPTURE(row.name);
                for (int again = 0; again < 2; ++again) {
                    auto app = connect_in(where.pod(), row.at.node, 80);
                    CHECK(app.error == EHOSTUNREACH);
                    CHECK(app.milliseconds < 100);
                }
            }
            CHECK(wire.tcp_packets() == 0);
            CHECK(!accept_from(server4.get(), 20));
            CHECK(!accept_from(server6.get(), 20));
        }
    });
}

TEST_CASE("leaving: new connections are the app's own, captured ones go on; then nothing is left") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance};
        std::string before = where.run("ip -n $POD rule; ip -n $POD -6 rule; ip -n $POD route show table 100; "
                                       "ip netns exec $POD sysctl net.ipv4.tcp_fwmark_accept net.ipv4.fwmark_reflect "
                                       "net.ipv6.fwmark_reflect");
        daemon.enrol();
        auto old_app = connect_in(where.pod(), ipv4.vip, 80);
        Fd proxy = daemon.accept(Arrival::outbound, AF_INET);
        REQUIRE(bool(proxy));
        REQUIRE(daemon->stop_capturing("uid-1").has_value());
        for (const Row& row : families) {
            CAPTURE(row.name);
            Fd server = listen_in(where.node(), row.at.node, 80);
            auto app = connect_in(where.pod(), row.at.node, 80);
            CHECK(app.error == 0);
            CHECK(bool(accept_from(server.get())));
        }
        REQUIRE(::send(old_app.fd.get(), "still", 5, 0) == 5);
        ::usleep(20000);
        char heard[8];
        CHECK(::recv(proxy.get(), heard, sizeof heard, 0) == 5);
        REQUIRE(daemon->release("uid-1").has_value());
        std::string left = where.run("ip -n $POD rule; ip -n $POD -6 rule; ip -n $POD route show table 100; "
                                     "ip netns exec $POD sysctl net.ipv4.tcp_fwmark_accept net.ipv4.fwmark_reflect "
                                     "net.ipv6.fwmark_reflect");
        CHECK(left == before);
        CHECK(where.run("ls /sys/fs/bpf/culvert/" + daemon.instance() + "/pods") == "");
    });
}

TEST_CASE("cleanup: with no daemon running, every trace in a living pod goes") {
    on_node([](Namespaces& where) {
        std::string instance = fresh_instance();
        auto traces = [&] {
            return where.run("ip -n $POD rule; ip -n $POD -6 rule; ip -n $POD route show table 100; ip -n $POD -6 route "
                             "show table 100; nsenter --net=/run/netns/$POD bpftool net list; "
                             "ls -d /sys/fs/bpf/culvert/" + instance + " 2>/dev/null; cat /proc/sys/net/ipv4/fwmark_reflect");
        };
        std::string before = traces();
        {
            Daemon daemon{where, instance};
            daemon.enrol();
            CHECK(traces() != before);
            CHECK(!Capture::cleanup(instance).has_value());  // a daemon runs
        }
        REQUIRE(Capture::cleanup(instance).has_value());
        CHECK(traces() == before);
        CHECK(Capture::cleanup(instance).has_value());
        Fd server = listen_in(where.node(), ipv4.node, 80);
        auto app = connect_in(where.pod(), ipv4.node, 80);
        CHECK(app.error == 0);
    });
}

TEST_CASE("interfaces: an address that comes later is the pod's own, and routes that vanish with a link come back") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance};
        daemon.enrol();
        std::string routes = where.run("ip -n $POD route show table 100; ip -n $POD -6 route show table 100");
        where.run("ip -n $POD link set eth0 down");
        daemon.handle_events();
        where.run("ip -n $POD link set eth0 up; ip -n $POD addr add 10.77.0.9/24 dev eth0;"
                  "ip -n $POD addr add fd77::2/64 dev eth0 nodad; ip -n $POD route add default via 10.77.0.1");
        daemon.handle_events(100);
        CHECK(where.run("ip -n $POD route show table 100; ip -n $POD -6 route show table 100") == routes);
        Fd app = listen_in(where.pod(), "10.77.0.9", 8080);
        auto probe = connect_in(where.node(), "10.77.0.9", 8080);
        CHECK(probe.error == 0);
        CHECK(bool(accept_from(app.get())));
    });
}

TEST_CASE("a pod without IPv6: no IPv6 part is made, IPv4 is captured") {
    on_node(
        [](Namespaces& where) {
            Cleaned after;
            Daemon daemon{where, after.instance};
            daemon.enrol();
            auto app = connect_in(where.pod(), ipv4.vip, 80);
            CHECK(app.error == 0);
            CHECK(bool(daemon.accept(Arrival::outbound, AF_INET)));
        },
        {.pod_has_ipv6 = false});
}

}

}
