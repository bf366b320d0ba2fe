// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <set>
#include <string>

#include <culvert/bpf/flow.h>

#include "programs.hpp"

namespace culvert::test {

TEST_SUITE("layout") {

TEST_CASE("names: programs and maps fit the kernel's 15 letters, and no two maps become the same word") {
    base::Handle<cv_cap, cv_cap::destroy> cap{cv_cap::open()};
    std::set<std::string> seen;
    bpf_program* program;
    bpf_object__for_each_program (program, cap->obj) {
        std::string name = bpf_program__name(program);
        CAPTURE(name);
        // A walk is over before anybody could look for it in a list.
        bool is_walk = std::string_view{bpf_program__section_name(program)}.starts_with("iter/");
        CHECK((name.size() <= 15 || is_walk));
        CHECK(name.starts_with("cv_"));
    }
    bpf_map* map;
    bpf_object__for_each_map (map, cap->obj) {
        std::string name = bpf_map__name(map);
        CAPTURE(name);
        CHECK(name.size() <= 15);
        CHECK(name.starts_with("cv_"));
        CHECK(seen.insert(name).second);
    }
}

TEST_CASE("maps: every one but sockmap and ring carries types, so that a dump has words in it") {
    Programs programs;
    bpf_map* map;
    bpf_object__for_each_map (map, programs->obj) {
        if (bpf_map__is_internal(map) || bpf_map__type(map) == BPF_MAP_TYPE_SOCKMAP ||
            bpf_map__type(map) == BPF_MAP_TYPE_RINGBUF)
            continue;
        bpf_map_info info{};
        __u32 size = sizeof info;
        REQUIRE(bpf_obj_get_info_by_fd(bpf_map__fd(map), &info, &size) == 0);
        CAPTURE(info.name);
        CHECK(info.btf_value_type_id != 0);
    }
}

TEST_CASE("flow: a row is whole cache lines, and identities keep clear of the counters") {
    CHECK(sizeof(cv_flow) % 64 == 0);
    CHECK(offsetof(cv_flow, source) % 32 == 0);
}

TEST_CASE("schema: the layout is the one that every daemon, old or new, reads") {
    CHECK(offsetof(cv_schema, version) == 0);
    CHECK(offsetof(cv_schema, daemon) == 8);
}

TEST_CASE("counters: the columns stand in the order of the reasons") {
    CHECK(offsetof(cv_counts, CONNECT_CAPTURED) == CV_REASON_CONNECT_CAPTURED * 8);
    CHECK(offsetof(cv_counts, TO_TUNNEL) == CV_REASON_TO_TUNNEL * 8);
    CHECK(offsetof(cv_counts, GUARD_FORGED) == CV_REASON_GUARD_FORGED * 8);
    CHECK(offsetof(cv_counts, EVENTS_FULL) == CV_REASON_EVENTS_FULL * 8);
}

}

}
