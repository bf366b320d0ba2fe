// SPDX-License-Identifier: Apache-2.0
// What pods get of the programs: copies of some, a share in others.
#include <doctest/doctest.h>

#include <bpf/bpf.h>
#include <linux/pkt_cls.h>

#include <capture/expedite.hpp>
#include <capture/kernel.hpp>
#include <capture/pins.hpp>
#include <capture/prepared.hpp>
#include <capture/programs.hpp>

#include <filesystem>
#include <fstream>

#include <culvert/base/netns.hpp>
#include <culvert/bpf/sock.h>

#include "daemon.hpp"
#include "programs.hpp"

namespace culvert::test {

namespace {

bpf_prog_info inspect(int program) {
    bpf_prog_info info{};
    __u32 size = sizeof info;
    REQUIRE(bpf_obj_get_info_by_fd(program, &info, &size) == 0);
    return info;
}

capture::Programs of_node(bool guard_per_pod) {
    auto node = capture::Programs::load(capture::Programs::Node{1, 1, 8, 8, guard_per_pod},
                                        [](const char*) { return base::Fd{}; });
    REQUIRE(node.has_value());
    return std::move(*node);
}

// What the guard says of a packet on lo of this namespace: UDP from 10.0.0.7.
int verdict(int guard, int netns) {
    std::string packet(42, '\0');
    const char header[] = {0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 7, 10, 0, 0, 9};
    packet[12] = 8;
    packet.replace(14, sizeof header, header, sizeof header);
    auto said = base::in_netns(netns, [&] {
        LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet.data(),
                    .data_size_in = static_cast<__u32>(packet.size()));
        return bpf_prog_test_run_opts(guard, &options) == 0 ? static_cast<int>(options.retval) : -100;
    });
    REQUIRE(said.has_value());
    return *said;
}

std::string rcu_switch() {
    std::string value;
    std::ifstream{"/sys/kernel/rcu_expedited"} >> value;
    return value;
}

}

TEST_SUITE("prepared") {

TEST_CASE("prepared: a copy is the program that libbpf loads, with maps of its own") {
    Programs loaded;
    capture::OwnMaps pattern{bpf_map__fd(loaded->maps.rodata), bpf_map__fd(loaded->maps.cv_listeners)};
    bpf_program* program;
    bpf_object__for_each_program (program, loaded->obj) {
        bpf_prog_info original = inspect(bpf_program__fd(program));
        if (original.type != BPF_PROG_TYPE_SK_LOOKUP && original.type != BPF_PROG_TYPE_SCHED_CLS) continue;
        CAPTURE(bpf_program__name(program));
        auto prepared = capture::PreparedProgram::from(program, pattern);
        REQUIRE(prepared.has_value());
        auto same = prepared->load(pattern);
        REQUIRE(same.has_value());
        bpf_prog_info copy = inspect(same->get());
        CHECK(std::string{copy.name} == original.name);
        CHECK(copy.xlated_prog_len == original.xlated_prog_len);
        CHECK(copy.nr_map_ids == original.nr_map_ids);
        CHECK(+copy.gpl_compatible == 1);

        // Every one of them reads the pod's cookie.
        CHECK(!prepared->load({-1, -1}).has_value());
    }
}

TEST_CASE("prepared: a pod has its own constants, frozen, and a slot per arrival, family and worker") {
    capture::Programs node = of_node(false);
    auto one = capture::Programs::load(capture::Programs::Pod{2, 3}, node);
    auto other = capture::Programs::load(capture::Programs::Pod{4, 1}, node);
    REQUIRE(one.has_value());
    REQUIRE(other.has_value());
    CHECK(one->fill_of("cv_listeners").size == CV_ARRIVAL_COUNT * 2 * 3);
    CHECK(other->fill_of("cv_listeners").size == CV_ARRIVAL_COUNT * 2);
    CHECK(one->program("cv_lookup") >= 0);
    CHECK(one->program("cv_lookup") != other->program("cv_lookup"));
    CHECK(node.program("cv_lookup") < 0);
    CHECK(one->program("cv_sockops") < 0);
}

TEST_CASE("prepared: pods share the guards where the kernel allows it, and have their own, once, where it does not") {
    for (bool guard_per_pod : {false, true}) {
        CAPTURE(guard_per_pod);
        capture::Programs node = of_node(guard_per_pod);
        auto one = capture::Programs::load(capture::Programs::Pod{2, 1}, node);
        auto other = capture::Programs::load(capture::Programs::Pod{4, 1}, node);
        REQUIRE(one.has_value());
        REQUIRE(other.has_value());
        for (const char* name : {"cv_in_guard", "cv_out_guard", "cv_in_guard_l3", "cv_out_guard_l3"}) {
            CAPTURE(name);
            int once = one->program(name);
            CHECK(once >= 0);
            CHECK(one->program(name) == once);
            CHECK((other->program(name) == once) == !guard_per_pod);
            CHECK((node.program(name) == once) == !guard_per_pod);
        }
    }
}

TEST_CASE("prepared: a guard that all pods share knows whose interface a packet passes, also without a socket") {
    Namespaces where;
    auto cookie = base::in_netns(where.pod(), capture::netns_cookie);
    REQUIRE(cookie.has_value());
    for (bool guard_per_pod : {false, true}) {
        CAPTURE(guard_per_pod);
        capture::Programs node = of_node(guard_per_pod);
        auto pod = capture::Programs::load(capture::Programs::Pod{*cookie, 1}, node);
        REQUIRE(pod.has_value());
        cv_own_ip_key own{};
        own.netns_cookie = *cookie;
        own.family = CV_IPV4;
        Programs::write_ip(own.ip, "10.0.0.7");
        cv_own_ip value{1};
        REQUIRE(bpf_map_update_elem(node.map("cv_own_ips"), &own, &value, BPF_ANY) == 0);
        // In the pod's own name from outside is forged; on the node it is anybody's.
        CHECK(verdict(pod->program("cv_in_guard"), where.pod()) == TC_ACT_SHOT);
        if (!guard_per_pod) CHECK(verdict(pod->program("cv_in_guard"), where.node()) == TC_ACT_UNSPEC);
    }
}

TEST_CASE("prepared: the switch that makes the kernel hurry is off again, also after a daemon that died with it on") {
    if (rcu_switch() != "0") return;  // somebody wants it on
    std::string folder = "/sys/fs/bpf/" + fresh_instance();
    REQUIRE(capture::make_directory(folder).has_value());
    {
        capture::Expedite first{folder};
        CHECK(rcu_switch() == "1");
        CHECK(std::filesystem::exists(folder + "/expedited"));
    }
    CHECK(rcu_switch() == "0");
    CHECK(!std::filesystem::exists(folder + "/expedited"));

    std::ofstream{"/sys/kernel/rcu_expedited"} << "1" << std::flush;
    { capture::Expedite not_ours{folder}; }
    CHECK(rcu_switch() == "1");
    CHECK(!std::filesystem::exists(folder + "/expedited"));
    std::filesystem::create_directory(folder + "/expedited");
    { capture::Expedite of_the_dead{folder}; }
    CHECK(rcu_switch() == "0");
    CHECK(!std::filesystem::exists(folder + "/expedited"));
    capture::remove_tree(folder);
}

}

}
