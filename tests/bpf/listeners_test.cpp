// SPDX-License-Identifier: Apache-2.0
// The walk over a namespace's listeners, on real ones.
#include "daemon.hpp"
#include "programs.hpp"

namespace culvert::test {

namespace {

int mark_of(const Fd& fd) {
    int mark = -1;
    socklen_t size = sizeof mark;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_MARK, &mark, &size);
    return mark;
}
void set_mark(const Fd& fd, int mark) {
    REQUIRE(::setsockopt(fd.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark) == 0);
}

// As userspace runs it: one link for all, an iterator made in the pod's netns, read to its end.
void walk(Programs& programs, int netns) {
    Fd link{bpf_link_create(bpf_program__fd(programs->progs.cv_unmark_listeners), 0, BPF_TRACE_ITER, nullptr)};
    REQUIRE(bool(link));
    auto iterator = base::in_netns(netns, [&] { return Fd{bpf_iter_create(link.get())}; });
    REQUIRE(bool(*iterator));
    char nothing[64];
    CHECK(::read(iterator->get(), nothing, sizeof nothing) == 0);
}

}

TEST_SUITE("listeners") {

TEST_CASE("listeners: the walk takes the mark off every app's listener of the namespace, and off nothing else") {
    Namespaces where;
    Programs programs;
    for (const FamilyRow& row : families) {
        CAPTURE(row.name);
        __u64 before = programs.count(&cv_counts::LISTEN_MARK_ZEROED);
        Fd marked = listen_in(where.pod(), row.at.pod, 80, 0x10539), also = listen_in(where.pod(), row.at.pod, 81);
        Fd plain = listen_in(where.pod(), row.at.pod, 82), ours = listen_in(where.pod(), row.at.pod, 83, 0x539);
        Fd elsewhere = listen_in(where.node(), row.at.node, 80, 7);
        auto connected = connect_in(where.pod(), row.at.pod, 80, {.mark = 7});
        REQUIRE(connected.error == 0);
        set_mark(also, 7);
        int fd = ours.get();
        cv_listen_sock arrival{CV_ARRIVAL_INBOUND_PLAIN};
        REQUIRE(bpf_map_update_elem(bpf_map__fd(programs->maps.cv_listen_socks), &fd, &arrival, BPF_ANY) == 0);
        walk(programs, where.pod());
        CHECK(mark_of(marked) == 0);
        CHECK(mark_of(also) == 0);
        CHECK(mark_of(plain) == 0);
        CHECK(mark_of(ours) == 0x539);
        CHECK(mark_of(elsewhere) == 7);
        CHECK(mark_of(connected.fd) == 7);
        CHECK(programs.count(&cv_counts::LISTEN_MARK_ZEROED) == before + 2);
    }
}

TEST_CASE("listeners: after the walk a leg is answered by an app that marked its listener behind our back") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        Programs programs;
        Tap wire{where};
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            Fd app = listen_in(where.pod(), row.at.pod, 8080);
            set_mark(app, 7);
            walk(programs, where.pod());
            Fd leg = leg_from(daemon, where.pod(), row.family == AF_INET ? "198.51.100.7" : "fd99::7");
            CHECK(reconnect(leg.get(), row.at.pod, 8080) == 0);
        }
        CHECK(wire.tcp_packets() == 0);
    });
}

TEST_CASE("listeners: kernels without the walk load all the rest") {
    base::Handle<cv_cap, cv_cap::destroy> cap{cv_cap::open()};
    bpf_program__set_autoload(cap->progs.cv_unmark_listeners, false);
    CHECK(cv_cap::load(cap.get()) == 0);
    CHECK(bpf_program__fd(cap->progs.cv_unmark_listeners) < 0);
    CHECK(bpf_program__fd(cap->progs.cv_lookup) >= 0);
}

}

}
