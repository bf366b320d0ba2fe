// SPDX-License-Identifier: Apache-2.0
// A daemon that dies, comes back, changes its mind or is cleaned up after.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include <node/signals.hpp>
#include <node/stand_by.hpp>

#include "daemon.hpp"

namespace culvert::test {

TEST_SUITE("life") {

TEST_CASE("refusal: with the daemon dead a connect fails at once and nothing is on the wire; a new daemon takes over") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Fd server4 = listen_in(where.node(), ipv4.node, 80), server6 = listen_in(where.node(), ipv6.node, 80);
        for (int life = 0; life < 2; ++life) {
            CAPTURE(life);
            Daemon daemon{where, after.instance};
            daemon.enrol();
            for (const FamilyRow& row : families) {
                auto app = connect_in(where.pod(), row.at.node, 80);
                CHECK(app.error == 0);
                CHECK(bool(daemon.accept(Arrival::outbound, row.family)));
            }
            daemon.kill();
            Tap wire{where};
            for (const FamilyRow& row : families) {
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

TEST_CASE("leaving: a pod goes in the moment in which a change of its network is to be followed") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance};
        for (int round = 0; round < 5; ++round) {
            daemon.enrol();
            where.run("ip -n $POD address add 10.99.0.1/32 dev lo");
            daemon.handle_events(20);  // followed; the next one has to wait
            where.run("ip -n $POD address del 10.99.0.1/32 dev lo");
            daemon.handle_events(5);
            ::usleep(60'000);
            daemon.handle_events_after([&] { CHECK(daemon->release("uid-1")); });
        }
    });
}

TEST_CASE("leaving: new connections are the app's own, captured ones go on; then nothing is left") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance};
        std::string before = where.run(
            "ip -n $POD rule; ip -n $POD -6 rule; ip -n $POD route show table 100; "
            "ip netns exec $POD sysctl net.ipv4.tcp_fwmark_accept net.ipv4.fwmark_reflect "
            "net.ipv6.fwmark_reflect");
        daemon.enrol();
        auto old_app = connect_in(where.pod(), ipv4.vip, 80);
        Fd proxy = daemon.accept(Arrival::outbound, AF_INET);
        REQUIRE(bool(proxy));
        auto used_again = connect_in(where.pod(), ipv4.vip, 81);
        disconnect(used_again.fd.get());
        REQUIRE(daemon->stop_capturing("uid-1").has_value());
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            Fd server = listen_in(where.node(), row.at.node, 80);
            auto app = connect_in(where.pod(), row.at.node, 80);
            CHECK(app.error == 0);
            CHECK(bool(accept_from(server.get())));
            // The guard remembers a socket, not what it was.
            if (row.family == AF_INET) CHECK(reconnect(used_again.fd.get(), row.at.node, 80) == 0);
        }
        REQUIRE(::send(old_app.fd.get(), "still", 5, 0) == 5);
        ::usleep(20000);
        char heard[8];
        CHECK(::recv(proxy.get(), heard, sizeof heard, 0) == 5);
        REQUIRE(daemon->release("uid-1").has_value());
        std::string left = where.run(
            "ip -n $POD rule; ip -n $POD -6 rule; ip -n $POD route show table 100; "
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
            return where.run(
                "ip -n $POD rule; ip -n $POD -6 rule; ip -n $POD route show table 100; ip -n $POD -6 route "
                "show table 100; nsenter --net=/run/netns/$POD bpftool net list; "
                "ls -d /sys/fs/bpf/culvert/" +
                instance + " 2>/dev/null; cat /proc/sys/net/ipv4/fwmark_reflect");
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
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        std::string routes = where.run("ip -n $POD route show table 100; ip -n $POD -6 route show table 100");
        where.run("ip -n $POD link set eth0 down");
        daemon.handle_events();
        where.run(
            "ip -n $POD link set eth0 up; ip -n $POD addr add 10.77.0.9/24 dev eth0;"
            "ip -n $POD addr add fd77::2/64 dev eth0 nodad; ip -n $POD route add default via 10.77.0.1");
        daemon.handle_events(100);
        CHECK(where.run("ip -n $POD route show table 100; ip -n $POD -6 route show table 100") == routes);
        Fd app = listen_in(where.pod(), "10.77.0.9", 8080);
        auto probe = connect_in(where.node(), "10.77.0.9", 8080);
        CHECK(probe.error == 0);
        CHECK(bool(accept_from(app.get())));
    });
}

TEST_CASE("interfaces: an address that goes is the pod's no longer") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance};
        where.run("ip -n $POD addr add 10.77.0.9/24 dev eth0");
        daemon.enrol();
        CHECK(connect_in(where.pod(), "10.77.0.9", 8080).error == ECONNREFUSED);  // by the pod itself
        where.run("ip -n $POD addr del 10.77.0.9/24 dev eth0");
        daemon.handle_events(100);
        CHECK(connect_in(where.pod(), "10.77.0.9", 8080).error == 0);
        CHECK(bool(daemon.accept(Arrival::outbound, AF_INET)));
        CHECK(daemon.count("CONNECT_SELF") == 1);
    });
}

TEST_CASE("refusal: the same socket may try again, and is served once a daemon is back") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon{where, after.instance}.enrol();
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            auto app = connect_in(where.pod(), row.at.vip, 80);
            REQUIRE(app.error == EHOSTUNREACH);
            Daemon daemon{where, after.instance};
            // Alive, but the pod's listeners are not in their slots yet.
            CHECK(reconnect(app.fd.get(), row.at.vip, 80) == EHOSTUNREACH);
            daemon.enrol();
            CHECK(reconnect(app.fd.get(), row.at.vip, 80) == 0);
            CHECK(bool(daemon.accept(Arrival::outbound, row.family)));
            CHECK(daemon.count("CONNECT_REFUSED") >= 2);
        }
    });
}

TEST_CASE("enrolling: what was connected goes on, what was just connecting is told at once") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Fd server = listen_in(where.node(), ipv4.node, 80);
        auto old_app = connect_in(where.pod(), ipv4.node, 80);
        Fd old_server = accept_from(server.get());
        REQUIRE(bool(old_server));
        auto hanging = connect_in(where.pod(), ipv4.vip, 80, {.limit_ms = 20});  // nobody answers
        REQUIRE(hanging.error == ETIMEDOUT);
        Daemon daemon{where, after.instance};
        daemon.enrol();
        int error = 0;
        socklen_t size = sizeof error;
        ::getsockopt(hanging.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
        CHECK(error == ECONNABORTED);
        REQUIRE(::send(old_app.fd.get(), "on", 2, 0) == 2);
        ::usleep(20000);
        char heard[8];
        CHECK(::recv(old_server.get(), heard, sizeof heard, 0) == 2);
    });
}

TEST_CASE("instances: whether a daemon has one can be asked from outside") {
    on_node([](Namespaces& where) {
        Cleaned after;
        after.instance += ".of.a.cluster";  // as many are called
        CHECK_FALSE(Capture::is_held(after.instance));
        Daemon daemon{where, after.instance};
        CHECK(Capture::is_held(after.instance));
        daemon.kill();
        CHECK_FALSE(Capture::is_held(after.instance));
    });
}

TEST_CASE("instances: who was replaced stands by until it is told to end, or nobody has the pods") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon successor{where, after.instance};
        auto replaced = [&] {
            node::hold_signals();  // as main() does, before anything else
            pid_t child = ::fork();
            if (child != 0) {
                node::let_signals_in();
                return child;
            }
            ::close_range(3, ~0u, 0);  // the successor's lock is among them
            ::_exit(node::stand_by(after.instance) ? 0 : 7);
        };
        auto end_of = [](pid_t child) {
            int status = 0;
            ::waitpid(child, &status, 0);
            return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        };
        pid_t told = replaced();
        pid_t left = replaced();
        ::kill(told, SIGTERM);  // it may not stand by yet
        CHECK(end_of(told) == 0);
        CHECK(::waitpid(left, nullptr, WNOHANG) == 0);
        successor.kill();
        CHECK(end_of(left) == 7);
    });
}

TEST_CASE("instances: a TERM that comes when nobody waits for one is there for who waits next") {
    node::hold_signals();
    boost::asio::io_context io;
    int heard = 0;
    constexpr std::chrono::milliseconds at_once{0};
    ::raise(SIGTERM);
    {
        node::Signals first{io, [&](int number) { heard = number; }};
        REQUIRE(first.open().has_value());
        io.run_one();
        CHECK(heard == SIGTERM);
    }
    CHECK_FALSE(node::told_to_end_within(at_once));
    ::raise(SIGTERM);
    CHECK(node::told_to_end_within(at_once));
    CHECK_FALSE(node::told_to_end_within(at_once));
    node::let_signals_in();
}

TEST_CASE("schema: pins of another version are replaced, and the pod is closed until it is enrolled again") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Fd server = listen_in(where.node(), ipv4.node, 80);
        Daemon{where, after.instance}.enrol();
        std::string home = "/sys/fs/bpf/culvert/" + after.instance;
        where.run("bpftool map update pinned " + home +
                  "/cv_schema key 0 0 0 0 value 99 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0");

        Tap wire{where};
        Daemon daemon{where, after.instance};
        CHECK(where.run("ls " + home + "/old_0/sockops") != "");
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            CHECK(connect_in(where.pod(), row.at.node, 80).error == EHOSTUNREACH);
        }
        daemon.enrol();
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            CHECK(connect_in(where.pod(), row.at.vip, 80).error == 0);
            CHECK(bool(daemon.accept(Arrival::outbound, row.family)));
        }
        // Before the old programs go, our own dials must already be ours.
        auto dial = base::in_netns(where.pod(), [] { return Fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}; });
        REQUIRE(daemon->claim(dial->get(), OwnSocket::dial).has_value());
        CHECK(wire.tcp_packets() == 0);
        CHECK(reconnect(dial->get(), ipv4.node, 80) == 0);

        REQUIRE(daemon->release_all_but({"uid-1"}).has_value());
        CHECK(where.run("ls " + home + " | grep old") == "");
        CHECK(connect_in(where.pod(), ipv4.vip, 80).error == 0);
    });
}

TEST_CASE("schema: a daemon that another version's replaces still dials out as itself") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon first{where, after.instance};
        first.enrol();
        where.run("bpftool map update pinned /sys/fs/bpf/culvert/" + after.instance +
                  "/cv_schema key 0 0 0 0 value 99 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0");
        Daemon second{where, after.instance, true};
        second.enrol();
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            Fd server = listen_in(where.node(), row.at.node, 80);
            auto dial =
                base::in_netns(where.pod(), [&] { return Fd{::socket(row.family, SOCK_STREAM | SOCK_CLOEXEC, 0)}; });
            REQUIRE(first->claim(dial->get(), OwnSocket::dial).has_value());
            CHECK(reconnect(dial->get(), row.at.node, 80) == 0);
            CHECK(bool(accept_from(server.get())));
        }
        CHECK(second.count("CONNECT_CAPTURED") == 0);
    });
}

TEST_CASE("release of the forgotten: a pod that the new daemon does not want is opened, a dead one is forgotten") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon{where, after.instance}.enrol();
        {
            Namespaces dies;
            Daemon other{dies, after.instance};
            other.enrol();
        }
        std::string pods = "ls /sys/fs/bpf/culvert/" + after.instance + "/pods";
        CHECK(where.run(pods + " | wc -l") == "2\n");
        Daemon daemon{where, after.instance};
        // Wanted, though not enrolled yet: stays closed. The kernel ends a namespace some time after its last user.
        for (int tries = 0; tries < 100 && where.run(pods + " | wc -l") != "1\n"; ++tries) {
            REQUIRE(daemon->release_all_but({"uid-1"}).has_value());
            ::usleep(50'000);
        }
        CHECK(where.run(pods + " | wc -l") == "1\n");
        CHECK(connect_in(where.pod(), ipv4.vip, 80).error == EHOSTUNREACH);
        REQUIRE(daemon->release_all_but({}).has_value());
        CHECK(where.run(pods) == "");
        Fd server = listen_in(where.node(), ipv4.node, 80);
        CHECK(connect_in(where.pod(), ipv4.node, 80).error == 0);
    });
}

TEST_CASE("instances: who has been replaced takes nothing back when it is told of its pods once more") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon old{where, after.instance};
        old.enrol();
        old->settled();
        Daemon next{where, after.instance, true};
        bool old_is_over = false, next_is_over = false;
        old->on_notice({.superseded = [&] { old_is_over = true; }});
        next->on_notice({.superseded = [&] { next_is_over = true; }});
        next.enrol();
        next->settled();
        CHECK(old->release_all_but({}).has_value());
        old->settled();
        old.handle_events(700);
        next.handle_events(700);
        CHECK(old_is_over);
        CHECK_FALSE(next_is_over);
        auto app = connect_in(where.pod(), ipv4.vip, 80);
        CHECK(app.error == 0);
        CHECK(bool(next.accept(Arrival::outbound, AF_INET)));
    });
}

TEST_CASE("instances: two daemons share a kernel; one pod has one of them") {
    on_node([](Namespaces& where) {
        Cleaned after_one, after_two;
        Daemon one{where, after_one.instance};
        Daemon two{where, after_two.instance};
        one.enrol();
        CHECK_THROWS(two.enrol());
        CHECK_THROWS(Daemon{where, after_one.instance});
        auto app = connect_in(where.pod(), ipv4.vip, 80);
        CHECK(app.error == 0);
        CHECK(bool(one.accept(Arrival::outbound, AF_INET)));
        CHECK(two.reasons() == "");
    });
}

}

}
