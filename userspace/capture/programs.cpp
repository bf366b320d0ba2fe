// SPDX-License-Identifier: Apache-2.0
#include "programs.hpp"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <fcntl.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <string_view>
#include <vector>

#include <cv_cap.skel.h>

#include <culvert/base/fd.hpp>
#include <culvert/base/log.hpp>
#include <culvert/bpf/sock.h>

#include "prepared.hpp"

namespace culvert::capture {

using base::Fd;
using base::Result;

namespace {

using Names = std::vector<std::string_view>;

// What is in neither list runs once on the node.
const Names in_every_pod = {"cv_lookup"};
// One for all pods, where the kernel shows them the packet's interface. The l3 ones are for those without an Ethernet
// header.
const Names guards = {"cv_out_guard", "cv_in_guard", "cv_out_guard_l3", "cv_in_guard_l3"};
constexpr const char* constants_map = ".rodata";
constexpr const char* optional = "cv_unmark_listeners";  // on the node, where the kernel can have it

bool is_in(const Names& names, std::string_view program) {
    return std::find(names.begin(), names.end(), program) != names.end();
}

// Linux 6.2 does.
bool kernel_shows_interfaces() {
    base::Handle<btf, btf__free> types{btf__load_vmlinux_btf()};
    return types && btf__find_by_name_kind(types.get(), "bpf_cast_to_kern_ctx", BTF_KIND_FUNC) > 0;
}

bool is_shared(const bpf_map* map) {
    std::string_view name = bpf_map__name(map);
    return name != "cv_listeners" && name != "cv_events" && !bpf_map__is_internal(map);
}

std::uint32_t power_of_two(std::uint32_t at_least) {
    return std::bit_ceil(std::max(at_least, 1u));
}

// libbpf's closes with the object.
Result<Fd> keep(int fd) {
    Fd copy{::fcntl(fd, F_DUPFD_CLOEXEC, 3)};
    if (!copy) return base::errno_while("keep a program or a map");
    return copy;
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

}

struct Programs::Source {
    virtual ~Source() = default;
    virtual int program(const char* name) = 0;
    virtual int map(const char* name) const = 0;
};

struct Programs::OfNode : Source {
    struct Map {
        std::string name;
        bool shared;
        Fd fd;
    };
    int program(const char* name) override;
    int map(const char* name) const override;

    // Open, set the constants, load, always in that order.
    Result<> load(const Node&, const FindPinned&, bool with_optional);
    // Makes the pods' programs ready and keeps what is needed of the object: itself it goes, with all that libbpf
    // knows.
    Result<> settle();
    Result<> keep_maps(std::map<int, int>& kept);
    OwnMaps pattern() const { return {map(constants_map), map("cv_listeners")}; }

    base::Handle<cv_cap, cv_cap::destroy> cap;  // until it is settled
    bool guard_per_pod = false;
    std::map<std::string, Fd, std::less<>> programs;
    std::vector<Map> maps;                  // in the object's order
    Fd types;                               // BTF
    std::vector<char> constants;            // the value of the object's own
    std::vector<PreparedProgram> prepared;  // for the pods
};

struct Programs::OfPod : Source {
    int program(const char* name) override;
    int map(const char* name) const override { return std::string_view{name} == "cv_listeners" ? listeners.get() : -1; }

    Result<> make_maps(const Pod&);
    Result<int> load(std::string_view name);

    const OfNode* node = nullptr;
    Fd constants;
    Fd listeners;
    std::map<std::string, Fd, std::less<>> programs;
};

Result<> Programs::OfNode::load(const Node& node, const FindPinned& find_pinned, bool with_optional) {
    cap.reset(cv_cap::open());
    if (!cap) return base::errno_while("open BPF object");
    bpf_program__set_autoload(cap->progs.cv_unmark_listeners, with_optional);

    constexpr std::uint32_t addresses_per_pod = 64;
    bpf_map__set_max_entries(cap->maps.cv_pods, node.max_pods);
    bpf_map__set_max_entries(cap->maps.cv_policy, node.max_pods);
    bpf_map__set_max_entries(cap->maps.cv_own_ips, node.max_pods * addresses_per_pod);
    bpf_map__set_max_entries(cap->maps.cv_pod_ips, node.max_pods * addresses_per_pod);
    bpf_map__set_max_entries(cap->maps.cv_flows, power_of_two(node.max_flows));

    bpf_map* map;
    bpf_object__for_each_map (map, cap->obj) {
        if (!is_shared(map)) continue;
        Fd pinned = find_pinned(bpf_map__name(map));
        if (!pinned) continue;
        if (auto taken = reuse(map, pinned.get()); !taken) return taken.error();
    }
    guard_per_pod = node.guard_per_pod || !kernel_shows_interfaces();
    cap->rodata->pod_netns = guard_per_pod ? 1 : 0;  // any: theirs is another
    cap->rodata->node_netns = node.netns;
    cap->rodata->this_daemon = node.daemon;
    // An earlier daemon's table keeps its size.
    cap->rodata->flow_rows = bpf_map__max_entries(cap->maps.cv_flows);
    if (int err = cv_cap::load(cap.get()); err != 0) return base::errno_while("load BPF programs", -err);
    return {};
}

// The kernel has seen the pods' programs once, so we know that it takes them; nobody runs these.
Result<> Programs::OfNode::settle() {
    std::map<int, int> kept;
    if (auto done = keep_maps(kept); !done) return done;
    const OwnMaps own{bpf_map__fd(cap->maps.rodata), bpf_map__fd(cap->maps.cv_listeners)};
    bpf_program* program;
    bpf_object__for_each_program (program, cap->obj) {
        std::string_view name = bpf_program__name(program);
        if (is_in(in_every_pod, name) || (guard_per_pod && is_in(guards, name))) {
            auto ready = PreparedProgram::from(program, own, kept);
            if (!ready) return ready.error();
            prepared.push_back(std::move(*ready));
        } else if (bpf_program__fd(program) >= 0) {
            auto fd = keep(bpf_program__fd(program));
            if (!fd) return fd.error();
            programs.emplace(name, std::move(*fd));
        }
    }
    auto btf = keep(bpf_object__btf_fd(cap->obj));
    if (!btf) return btf.error();
    types = std::move(*btf);
    const char* value = reinterpret_cast<const char*>(cap->rodata);
    constants.assign(value, value + bpf_map__value_size(cap->maps.rodata));
    cap.reset();
    return {};
}

// `kept`: ours by libbpf's.
Result<> Programs::OfNode::keep_maps(std::map<int, int>& kept) {
    bpf_map* map;
    bpf_object__for_each_map (map, cap->obj) {
        auto fd = keep(bpf_map__fd(map));
        if (!fd) return fd.error();
        kept.emplace(bpf_map__fd(map), fd->get());
        const char* name = map == cap->maps.rodata ? constants_map : bpf_map__name(map);
        maps.push_back({name, is_shared(map), std::move(*fd)});
    }
    return {};
}

int Programs::OfNode::program(const char* name) {
    auto found = programs.find(std::string_view{name});
    return found == programs.end() ? -1 : found->second.get();
}

int Programs::OfNode::map(const char* name) const {
    auto found = std::find_if(maps.begin(), maps.end(), [name](const Map& map) { return map.name == name; });
    return found == maps.end() ? -1 : found->fd.get();
}

Result<> Programs::OfPod::make_maps(const Pod& pod) {
    OwnMaps pattern = node->pattern();
    std::vector<char> value = node->constants;
    std::remove_pointer_t<decltype(cv_cap::rodata)>
        known{};  // may be shorter than the value, or longer, by what has no name
    const std::size_t size = std::min(value.size(), sizeof known);
    std::memcpy(&known, value.data(), size);
    known.pod_netns = pod.netns;
    known.workers = pod.workers;
    std::memcpy(value.data(), &known, size);
    auto made = constants_like(pattern.constants, node->types.get(), value.data());
    if (!made) return made.error();
    constants = std::move(*made);
    auto slots = map_like(pattern.listeners, node->types.get(), CV_ARRIVAL_COUNT * 2 * pod.workers);
    if (!slots) return slots.error();
    listeners = std::move(*slots);
    return {};
}

Result<int> Programs::OfPod::load(std::string_view name) {
    const auto& all = node->prepared;
    auto ready = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.name() == name; });
    if (ready == all.end()) return base::problem("pods have no program " + std::string{name});
    auto loaded = ready->load({constants.get(), listeners.get()});
    if (!loaded) return loaded.error();
    return programs.emplace(name, std::move(*loaded)).first->second.get();
}

int Programs::OfPod::program(const char* name) {
    if (is_in(guards, name) && !node->guard_per_pod)
        if (auto shared = node->programs.find(std::string_view{name}); shared != node->programs.end())
            return shared->second.get();
    if (auto found = programs.find(name); found != programs.end()) return found->second.get();
    auto loaded = load(name);
    if (loaded) return *loaded;
    base::log::error("capture", "{}", loaded.error().to_string());
    return -1;
}

Programs::Programs(std::unique_ptr<Source> source) noexcept : source_{std::move(source)} {}
Programs::Programs(Programs&&) noexcept = default;
Programs& Programs::operator=(Programs&&) noexcept = default;
Programs::~Programs() = default;

Result<Programs> Programs::load(const Node& node, const FindPinned& find_pinned) {
    auto source = std::make_unique<OfNode>();
    auto loaded = source->load(node, find_pinned, true);
    if (!loaded && source->cap) {
        base::log::warn("capture", "{}; trying without {}", loaded.error().to_string(), optional);
        loaded = source->load(node, find_pinned, false);
    }
    if (!loaded) return loaded.error();
    if (auto done = source->settle(); !done) return done.error();
    return Programs{std::move(source)};
}

Result<Programs> Programs::load(const Pod& pod, const Programs& node) {
    auto source = std::make_unique<OfPod>();
    source->node = &dynamic_cast<const OfNode&>(*node.source_);
    if (auto done = source->make_maps(pod); !done) return done.error();
    for (std::string_view name : in_every_pod)
        if (auto loaded = source->load(name); !loaded) return loaded.error();
    return Programs{std::move(source)};
}

std::string_view Programs::object() noexcept {
    std::size_t size = 0;
    const void* bytes = cv_cap::elf_bytes(&size);
    return {static_cast<const char*>(bytes), size};
}

int Programs::program(const char* name) const {
    return source_->program(name);
}

int Programs::map(const char* name) const {
    return source_->map(name);
}

MapFill Programs::fill_of(const char* name) const {
    int fd = map(name);
    bpf_map_info info{};
    __u32 size = sizeof info;
    bpf_obj_get_info_by_fd(fd, &info, &size);
    std::vector<char> key(info.key_size), next(key.size());
    std::uint64_t used = 0;
    for (void* from = nullptr; bpf_map_get_next_key(fd, from, next.data()) == 0; from = key.data(), ++used) key = next;
    return {name, used, info.max_entries};
}

void Programs::each_shared_map(const std::function<void(const char*, int)>& visit) const {
    for (const OfNode::Map& map : dynamic_cast<const OfNode&>(*source_).maps)
        if (map.shared) visit(map.name.c_str(), map.fd.get());
}

}
