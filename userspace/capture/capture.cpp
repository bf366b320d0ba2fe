// SPDX-License-Identifier: Apache-2.0
#include <culvert/capture/capture.hpp>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>

#include <culvert/base/log.hpp>
#include <culvert/base/netns.hpp>
#include <culvert/bpf/pod.h>
#include <culvert/bpf/reasons.h>
#include <culvert/bpf/sock.h>

#include "addresses.hpp"
#include "cleanup.hpp"
#include "kernel.hpp"
#include "listeners.hpp"
#include "pins.hpp"
#include "pod.hpp"
#include "programs.hpp"
#include "routing.hpp"

namespace culvert::capture {

using base::Fd;
using base::Result;

static_assert(static_cast<int>(Arrival::outbound) == CV_ARRIVAL_OUTBOUND);
static_assert(static_cast<int>(Arrival::inbound_plain) == CV_ARRIVAL_INBOUND_PLAIN);
static_assert(static_cast<int>(Arrival::inbound_hbone) == CV_ARRIVAL_INBOUND_TUNNEL);
static_assert(static_cast<int>(OwnSocket::dial) == CV_OWN_DIAL);
static_assert(static_cast<int>(OwnSocket::inbound_leg) == CV_OWN_LEG);
static_assert(static_cast<int>(OwnSocket::plain_leg) == CV_OWN_PLAIN_LEG);

struct Capture::Impl {
    Impl(boost::asio::io_context& context, Settings chosen, Pins held)
        : io{context}, settings{std::move(chosen)}, pins{std::move(held)}, daemon{fresh_number()} {}

    static std::uint64_t fresh_number() {
        std::random_device random;
        return static_cast<std::uint64_t>(random()) << 32 | random() | 1;
    }

    Result<> set_aside_other_schemas();
    Result<> load();
    Result<> attach(int cgroup);
    NodeSide node_side() { return {io, pins, *programs, netns, daemon, settings.workers, guard_hook}; }

    boost::asio::io_context& io;
    Settings settings;
    Pins pins;                // holds the lock: first to come, last to go
    std::uint64_t netns = 0;  // cookie of the daemon's own
    std::uint64_t daemon;
    GuardHook guard_hook = GuardHook::tcx;
    std::unique_ptr<Programs> programs;
    int own_socks = -1;  // borrowed from programs, read on every worker
    FlowTable flows;
    std::map<std::string, std::unique_ptr<Pod>> pods;  // by uid
    Fd alive;                                          // last, so that it goes first: from then on connects are refused
};

// Old pins are moved, not removed: their programs go on keeping every pod closed until it is enrolled anew.
Result<> Capture::Impl::set_aside_other_schemas() {
    Fd schema = pinned(pins.path("cv_schema"));
    if (!schema && !pinned(pins.path("sockops"))) return {};
    std::uint32_t row = 0;
    cv_schema found{};
    if (schema) bpf_map_lookup_elem(schema.get(), &row, &found);
    if (found.version == CV_SCHEMA_VERSION) return {};
    base::log::warn(
        "capture",
        "the pins in {} have schema version {}, this culvertd speaks {}: replacing them; captured pods stay "
        "closed until they are enrolled again",
        pins.home(), found.version, CV_SCHEMA_VERSION);
    return pins.set_aside();
}

Result<> Capture::Impl::load() {
    auto own = netns_cookie();
    if (!own) return own.error();
    netns = *own;
    auto loaded = Programs::load(Programs::Node{netns, daemon, settings.max_pods, settings.max_flows},
                                 [this](const char* name) { return pinned(pins.path(name)); });
    if (!loaded) return loaded.error();
    programs = std::make_unique<Programs>(std::move(*loaded));

    std::uint32_t row = 0;
    cv_schema schema{CV_SCHEMA_VERSION};
    if (bpf_map_update_elem(programs->map("cv_schema"), &row, &schema, BPF_ANY) != 0)
        return base::errno_while("write cv_schema");
    Result<> pinning;
    programs->each_shared_map([&](const char* name, int fd) {
        if (!pinning || pinned(pins.path(name))) return;
        pinning = pin(fd, pins.path(name));
    });
    if (!pinning) return pinning;

    bpf_map_info info{};
    __u32 size = sizeof info;
    int flows_map = programs->map("cv_flows");
    if (bpf_obj_get_info_by_fd(flows_map, &info, &size) != 0) return base::errno_while("inspect cv_flows");
    auto table = FlowTable::map(flows_map, programs->map("cv_socks"), info.max_entries);
    if (!table) return table.error();
    flows = std::move(*table);
    flows.free_abandoned();
    own_socks = programs->map("cv_own_socks");
    return {};
}

Result<> Capture::Impl::attach(int cgroup) {
    auto attach_to_root = [&](const char* name) -> Result<Fd> {
        Fd link{bpf_link_create(programs->program(name), cgroup, BPF_CGROUP_SOCK_OPS, nullptr)};
        if (!link) return base::errno_while(std::string{"attach "} + name + " to the cgroup root");
        return link;
    };
    auto pinned_one = replace_or_attach(pins.path("sockops"), programs->program("cv_sockops"),
                                        [&] { return attach_to_root("cv_sockops"); });
    if (!pinned_one) return pinned_one;
    // After it, also in the order in which the kernel runs them.
    auto link = attach_to_root("cv_alive");
    if (!link) return link.error();
    alive = std::move(*link);
    return {};
}

Capture::Capture(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
Capture::~Capture() = default;

Result<std::unique_ptr<Capture>> Capture::start(boost::asio::io_context& io, Settings settings) {
    adopt_libbpf_log();
    if (settings.workers == 0) return base::problem("capture needs at least one worker");
    if (auto able = check_kernel(); !able) return able.error();
    auto home = bpffs();
    if (!home) return home.error();
    auto cgroup = cgroup_root();
    if (!cgroup) return cgroup.error();
    auto pins = Pins::open(*home, settings.instance);
    if (!pins) return pins.error();

    auto impl = std::make_unique<Impl>(io, std::move(settings), std::move(*pins));
    impl->guard_hook = kernel_has_tcx() ? GuardHook::tcx : GuardHook::clsact;
    if (auto done = impl->set_aside_other_schemas(); !done) return done.error();
    if (auto done = impl->load(); !done) return done.error();
    if (auto done = impl->attach(cgroup->get()); !done) return done.error();
    return std::unique_ptr<Capture>{new Capture{std::move(impl)}};
}

Result<std::vector<Listener>> Capture::listen(const PodSpec& pod) {
    auto opened = base::in_netns(pod.netns, [&] { return open_listeners(impl_->settings.workers, netns_has_ipv6()); });
    if (!opened) return opened.error();
    for (const Listener& listener : *opened) {
        int fd = listener.fd.get();
        cv_listen_sock takes{static_cast<cv_arrival>(listener.arrival)};
        if (bpf_map_update_elem(impl_->programs->map("cv_listen_socks"), &fd, &takes, BPF_ANY) != 0)
            return base::errno_while("note a listener of " + pod.name);
    }
    return opened;
}

Result<> Capture::enrol(const PodSpec& pod, const std::vector<Listener>& listeners) {
    if (impl_->pods.contains(pod.uid)) return base::problem(pod.name + " is enrolled already");
    auto enrolled = Pod::enrol(impl_->node_side(), pod, listeners);
    if (!enrolled) return enrolled.error();
    // Of a daemon with another schema: its programs steered this pod until now. Its row goes after ours has come, and
    // its hooks after ours are in place, so the pod is never open.
    std::uint64_t cookie = (*enrolled)->cookie();
    for (const std::string& old : impl_->pins.olds()) {
        delete_row(pinned(old + "/cv_pods").get(), cookie);
        remove_tree(old + "/pods/" + std::to_string(cookie));
    }
    impl_->pods.emplace(pod.uid, std::move(*enrolled));
    base::log::info("capture", "{} is captured", pod.name);
    return {};
}

Result<> Capture::stop_capturing(const std::string& uid) {
    auto pod = impl_->pods.find(uid);
    if (pod == impl_->pods.end()) return {};
    return pod->second->stop_capturing();
}

Result<> Capture::release(const std::string& uid) {
    auto found = impl_->pods.find(uid);
    if (found == impl_->pods.end()) return {};
    auto pod = std::move(found->second);
    impl_->pods.erase(found);
    auto released = pod->release();
    base::log::info("capture", "{} is released", pod->name());
    return released;
}

void Capture::let_go(const std::string& uid) {
    impl_->pods.erase(uid);
}

Result<> Capture::release_all_but(const std::vector<std::string>& uids) {
    std::vector<std::uint64_t> keep;
    for (const auto& [uid, pod] : impl_->pods) keep.push_back(pod->cookie());
    // A pod that is wanted but could not be enrolled stays closed; a namespace that is gone is nobody's pod.
    int rows = impl_->programs->map("cv_pods");
    for (std::uint64_t cookie : impl_->pins.pods()) {
        auto row = find_row(rows, cookie);
        Fd link = pinned(impl_->pins.pod(cookie) + "/lookup");
        bool wanted = row && std::any_of(uids.begin(), uids.end(), [&](const std::string& uid) {
                          return uid.compare(0, sizeof row->uid - 1, row->uid) == 0;
                      });
        if (wanted && link && netns_of_link(link.get()) != 0) keep.push_back(cookie);
    }
    for (std::uint64_t cookie : impl_->pins.pods())
        if (std::find(keep.begin(), keep.end(), cookie) == keep.end())
            publish_addresses(*impl_->programs, cookie, {}, {});
    Result<> undone = undo_pods(impl_->pins.home(), keep);
    for (const std::string& old : impl_->pins.olds()) {
        auto done = undo_pods(old, {});
        if (!done && undone.has_value()) undone = done;
        remove_tree(old);
    }
    return undone;
}

void Capture::refuse_new() noexcept {
    impl_->alive = {};
}

Result<> Capture::claim(int fd, OwnSocket kind) noexcept {
    cv_own_sock own{static_cast<cv_own_kind>(kind)};
    if (bpf_map_update_elem(impl_->own_socks, &fd, &own, BPF_ANY) != 0)
        return base::errno_while("claim a socket as ours");
    return {};
}

FlowTable& Capture::flows() noexcept {
    return impl_->flows;
}

std::vector<ReasonCount> Capture::reasons() const {
    std::vector<cv_counts> per_cpu(static_cast<std::size_t>(libbpf_num_possible_cpus()));
    std::uint32_t row = 0;
    bpf_map_lookup_elem(impl_->programs->map("cv_counts"), &row, per_cpu.data());
    auto total = [&](__u64 cv_counts::*column) {
        std::uint64_t sum = 0;
        for (const cv_counts& one : per_cpu) sum += one.*column;
        return sum;
    };
    return {
#define X(name, text) {#name, text, total(&cv_counts::name)},
        CV_REASONS(X)
#undef X
    };
}

std::vector<MapFill> Capture::fills() const {
    std::vector<MapFill> fills;
    for (const char* name : {"cv_pods", "cv_own_ips", "cv_pod_ips"}) fills.push_back(impl_->programs->fill_of(name));
    fills.push_back({"cv_flows", impl_->flows.used(), impl_->flows.size()});
    return fills;
}

}
