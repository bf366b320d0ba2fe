// SPDX-License-Identifier: Apache-2.0
#include "programs.hpp"

#include <bpf/bpf.h>

#include <bit>
#include <string_view>
#include <vector>

#include <cv_cap.skel.h>

#include <culvert/base/fd.hpp>
#include <culvert/bpf/sock.h>

namespace culvert::capture {

using base::Result;

struct Programs::Skeleton {
    base::Handle<cv_cap, cv_cap::destroy> cap;
};

namespace {

constexpr std::string_view node_programs[] = {"cv_sockops", "cv_alive"};

bool belongs_to_node(const bpf_program* program) {
    for (std::string_view name : node_programs)
        if (name == bpf_program__name(program)) return true;
    return false;
}

bool is_shared(const bpf_map* map) {
    std::string_view name = bpf_map__name(map);
    return name != "cv_listeners" && !bpf_map__is_internal(map);
}

// Only these run from this instance; the others are loaded by somebody else.
void choose_programs(cv_cap& cap, bool node) {
    bpf_program* program;
    bpf_object__for_each_program (program, cap.obj)
        bpf_program__set_autoload(program, belongs_to_node(program) == node);
}

std::uint32_t power_of_two(std::uint32_t at_least) {
    return std::bit_ceil(std::max(at_least, 1u));
}

// A pinned map of another shape is not ours to reuse: it would be read as something it is not.
Result<> reuse(bpf_map* map, int fd) {
    bpf_map_info info{};
    __u32 size = sizeof info;
    if (bpf_obj_get_info_by_fd(fd, &info, &size) != 0) return base::errno_while("inspect a pinned map");
    if (info.type != bpf_map__type(map) || info.key_size != bpf_map__key_size(map) ||
        info.value_size != bpf_map__value_size(map))
        return base::problem(std::string{"the pinned map "} + bpf_map__name(map) +
                             " has another shape though its schema version is ours; run culvertd cleanup");
    if (bpf_map__reuse_fd(map, fd) != 0) return base::errno_while(std::string{"take over map "} + bpf_map__name(map));
    return {};
}

Result<> load_or_say_why(cv_cap& cap) {
    if (int err = cv_cap::load(&cap); err != 0) return base::errno_while("load BPF programs", -err);
    return {};
}

}

Programs::Programs(std::unique_ptr<Skeleton> skeleton) noexcept : skeleton_{std::move(skeleton)} {}
Programs::Programs(Programs&&) noexcept = default;
Programs& Programs::operator=(Programs&&) noexcept = default;
Programs::~Programs() = default;

Result<Programs> Programs::load(const Node& node, const FindPinned& find_pinned) {
    Programs programs{std::make_unique<Skeleton>()};
    auto& cap = programs.skeleton_->cap;
    cap.reset(cv_cap::open());
    if (!cap) return base::errno_while("open BPF object");
    choose_programs(*cap, true);
    bpf_map__set_autocreate(cap->maps.cv_listeners, false);

    constexpr std::uint32_t addresses_per_pod = 64;
    bpf_map__set_max_entries(cap->maps.cv_pods, node.max_pods);
    bpf_map__set_max_entries(cap->maps.cv_own_ips, node.max_pods * addresses_per_pod);
    bpf_map__set_max_entries(cap->maps.cv_pod_ips, node.max_pods * addresses_per_pod);
    bpf_map__set_max_entries(cap->maps.cv_flows, power_of_two(node.max_flows));

    bpf_map* map;
    bpf_object__for_each_map (map, cap->obj) {
        if (!is_shared(map)) continue;
        base::Fd pinned = find_pinned(bpf_map__name(map));
        if (!pinned) continue;
        if (auto taken = reuse(map, pinned.get()); !taken) return taken.error();
    }
    cap->rodata->node_netns = node.netns;
    cap->rodata->this_daemon = node.daemon;
    // An earlier daemon's table keeps its size.
    cap->rodata->flow_rows = bpf_map__max_entries(cap->maps.cv_flows);
    if (auto loaded = load_or_say_why(*cap); !loaded) return loaded.error();
    return programs;
}

Result<Programs> Programs::load(const Pod& pod, const Programs& node) {
    Programs programs{std::make_unique<Skeleton>()};
    auto& cap = programs.skeleton_->cap;
    cap.reset(cv_cap::open());
    if (!cap) return base::errno_while("open BPF object");
    choose_programs(*cap, false);
    bpf_map__set_max_entries(cap->maps.cv_listeners, CV_ARRIVAL_COUNT * 2 * pod.workers);

    bpf_map* map;
    bpf_object__for_each_map (map, cap->obj) {
        if (!is_shared(map)) continue;
        if (bpf_map__reuse_fd(map, node.map(bpf_map__name(map))) != 0)
            return base::errno_while(std::string{"share map "} + bpf_map__name(map));
    }
    cap->rodata->pod_netns = pod.netns;
    cap->rodata->workers = pod.workers;
    if (auto loaded = load_or_say_why(*cap); !loaded) return loaded.error();
    return programs;
}

int Programs::program(const char* name) const {
    return bpf_program__fd(bpf_object__find_program_by_name(skeleton_->cap->obj, name));
}

int Programs::map(const char* name) const {
    return bpf_object__find_map_fd_by_name(skeleton_->cap->obj, name);
}

MapFill Programs::fill_of(const char* name) const {
    bpf_map* map = bpf_object__find_map_by_name(skeleton_->cap->obj, name);
    std::vector<char> key(bpf_map__key_size(map)), next(key.size());
    std::uint64_t used = 0;
    for (void* from = nullptr; bpf_map__get_next_key(map, from, next.data(), next.size()) == 0;
         from = key.data(), ++used)
        key = next;
    return {name, used, bpf_map__max_entries(map)};
}

void Programs::each_shared_map(const std::function<void(const char*, int)>& visit) const {
    bpf_map* map;
    bpf_object__for_each_map (map, skeleton_->cap->obj) {
        if (is_shared(map)) visit(bpf_map__name(map), bpf_map__fd(map));
    }
}

}
