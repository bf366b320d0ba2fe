// SPDX-License-Identifier: Apache-2.0
#include "ebpf.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <random>

#include <culvert/base/log.hpp>
#include <culvert/base/netns.hpp>
#include <culvert/bpf/pod.h>
#include <culvert/bpf/reasons.h>
#include <culvert/bpf/sock.h>

#include "addresses.hpp"
#include "expedite.hpp"
#include "istio_rules.hpp"
#include "kernel.hpp"
#include "listeners.hpp"
#include "undo.hpp"

namespace culvert::capture {

using base::Fd;
using base::Result;

static_assert(static_cast<int>(Arrival::outbound) == CV_ARRIVAL_OUTBOUND);
static_assert(static_cast<int>(Arrival::inbound_plain) == CV_ARRIVAL_INBOUND_PLAIN);
static_assert(static_cast<int>(Arrival::inbound_hbone) == CV_ARRIVAL_INBOUND_TUNNEL);
static_assert(static_cast<int>(Arrival::dns) == CV_ARRIVAL_DNS);
static_assert(static_cast<int>(OwnSocket::dial) == CV_OWN_DIAL);
static_assert(static_cast<int>(OwnSocket::inbound_leg) == CV_OWN_LEG);
static_assert(static_cast<int>(OwnSocket::plain_leg) == CV_OWN_PLAIN_LEG);

namespace {

std::uint64_t fresh_number() {
    std::random_device random;
    return static_cast<std::uint64_t>(random()) << 32 | random() | 1;
}

std::uint64_t total(const std::vector<cv_counts>& per_cpu, __u64 cv_counts::*column) {
    std::uint64_t sum = 0;
    for (const cv_counts& one : per_cpu) sum += one.*column;
    return sum;
}

Result<Fd> attach_to_root(const char* name, int program, int cgroup) {
    Fd link{bpf_link_create(program, cgroup, BPF_CGROUP_SOCK_OPS, nullptr)};
    if (!link) return base::errno_while(std::string{"attach "} + name + " to the cgroup root");
    return link;
}

}

EbpfCapture::EbpfCapture(boost::asio::io_context& io, Settings settings, Pins pins)
    : io_{io}, settings_{std::move(settings)}, pins_{std::move(pins)}, daemon_{fresh_number()}, twice_a_second_{io} {}

// A start that has failed before it took a pod closes none by what it leaves: it leaves nothing.
EbpfCapture::~EbpfCapture() {
    if (only_begun_) pins_.remove_if_unused();
}

// Old pins are moved, not removed: their programs go on keeping every pod closed until it is enrolled anew.
Result<> EbpfCapture::set_aside_other_schemas() {
    Fd schema = pinned(pins_.path("cv_schema"));
    if (!schema && !pinned(pins_.path("sockops"))) return {};
    std::uint32_t row = 0;
    cv_schema found{};
    if (schema) bpf_map_lookup_elem(schema.get(), &row, &found);
    if (found.version == CV_SCHEMA_VERSION) return {};
    base::log::warn(
        "capture",
        "the pins in {} have schema version {}, this culvertd speaks {}: replacing them; captured pods stay "
        "closed until they are enrolled again",
        pins_.home(), found.version, CV_SCHEMA_VERSION);
    return pins_.set_aside();
}

Result<> EbpfCapture::load() {
    auto cookie = node_netns_cookie(settings_.node_netns);
    if (!cookie) return cookie.error();
    netns_ = *cookie;
    auto loaded = Programs::load(Programs::Node{netns_, daemon_, settings_.max_pods, settings_.max_flows},
                                 [this](const char* name) { return pinned(pins_.path(name)); });
    if (!loaded) return loaded.error();
    programs_ = std::make_unique<Programs>(std::move(*loaded));

    if (auto said = say_who(false); !said) return said;
    Result<> pinning;
    programs_->each_shared_map([&](const char* name, int fd) {
        if (!pinning || pinned(pins_.path(name))) return;
        pinning = pin(fd, pins_.path(name));
    });
    if (!pinning) return pinning;

    bpf_map_info info{};
    __u32 size = sizeof info;
    int flows_map = programs_->map("cv_flows");
    if (bpf_obj_get_info_by_fd(flows_map, &info, &size) != 0) return base::errno_while("inspect cv_flows");
    auto table = FlowTable::map(flows_map, info.max_entries);
    if (!table) return table.error();
    flows_ = std::move(*table);
    if (pins_.locked()) flows_.free_abandoned();  // else an older daemon still holds rows
    own_socks_ = programs_->map("cv_own_socks");
    return {};
}

Result<> EbpfCapture::say_who(bool settled) {
    std::uint32_t row = 0;
    cv_schema schema{CV_SCHEMA_VERSION, settled, daemon_};
    if (bpf_map_update_elem(programs_->map("cv_schema"), &row, &schema, BPF_ANY) != 0)
        return base::errno_while("write cv_schema");
    return {};
}

Result<> EbpfCapture::attach() {
    int program = programs_->program("cv_sockops");
    auto link = replace_or_attach(pins_.path("sockops"), program,
                                  [&] { return attach_to_root("cv_sockops", program, cgroup_.get()); });
    if (!link) return link.error();
    sockops_ = std::move(*link);
    return attach_alive();
}

// After cv_sockops, also in the order in which the kernel runs them.
Result<> EbpfCapture::attach_alive() {
    alive_.reset();
    auto link = attach_to_root("cv_alive", programs_->program("cv_alive"), cgroup_.get());
    if (!link) return link.error();
    alive_ = std::move(*link);
    return {};
}

Result<std::unique_ptr<Capture>> EbpfCapture::start(boost::asio::io_context& io, Settings settings) {
    adopt_libbpf_log();
    if (auto able = check_kernel(); !able) return able.error();
    auto home = bpffs();
    if (!home) return home.error();
    auto cgroup = cgroup_root();
    if (!cgroup) return cgroup.error();
    const bool first = !Pins::exists(*home, settings.instance);
    auto pins = Pins::open(*home, settings.instance, settings.take_over);
    if (!pins) return pins.error();

    std::unique_ptr<EbpfCapture> capture{new EbpfCapture{io, std::move(settings), std::move(*pins)}};
    capture->only_begun_ = first && capture->pins_.locked();
    capture->guard_hook_ = kernel_has_tcx() ? GuardHook::tcx : GuardHook::clsact;
    if (auto done = capture->set_aside_other_schemas(); !done) return done.error();
    if (auto done = capture->load(); !done) return done.error();
    capture->open_ring();
    capture->cgroup_ = std::move(*cgroup);
    if (auto done = capture->attach(); !done) return done.error();
    capture->check_later();
    return std::unique_ptr<Capture>{std::move(capture)};
}

Result<std::vector<Listener>> EbpfCapture::listen(const PodSpec& pod) {
    auto opened = base::in_netns(pod.netns, [&]() -> Result<std::vector<Listener>> {
        auto rules = finds_istio_rules();
        if (!rules) return rules.error();
        return open_listeners(settings_.workers, *rules ? Bringer::rules : Bringer::programs, pod.dns, settings_.ipv6);
    });
    if (!opened) return opened.error();
    if (auto set = bequeath(*opened, settings_.keepalive); !set) return set.error();
    for (const Listener& listener : *opened) {
        int fd = listener.fd.get();
        cv_listen_sock takes{static_cast<cv_arrival>(listener.arrival)};
        if (bpf_map_update_elem(programs_->map("cv_listen_socks"), &fd, &takes, BPF_ANY) != 0)
            return base::errno_while("note a listener of " + pod.name);
    }
    return opened;
}

Result<> EbpfCapture::enrol(const PodSpec& pod, const std::vector<Listener>& listeners) {
    if (pods_.find(pod.uid)) return base::problem(pod.name + " is enrolled already");
    if (others_word()) return base::problem("another culvertd is taking over, " + pod.name + " is left to it");
    auto its_cookie = base::in_netns(pod.netns, netns_cookie);
    if (!its_cookie) return its_cookie.error();
    for (const auto& [uid, other] : pods_)
        if (other->cookie() == *its_cookie)
            return base::problem(pod.name + " lives in the network namespace of " + other->name() +
                                 ", which is enrolled; a namespace can be one pod's only");
    only_begun_ = false;
    auto enrolled = Pod::enrol(node_side(), pod, listeners);
    if (!enrolled) return enrolled.error();
    // Of a daemon with another schema: its programs steered this pod until now. Its row goes after ours has come, and
    // its hooks after ours are in place, so the pod is never open.
    std::uint64_t cookie = (*enrolled)->cookie();
    for (const std::string& old : pins_.olds()) {
        delete_row(pinned(old + "/cv_pods").get(), cookie);
        end_expedited(old + "/pods/" + std::to_string(cookie));
        remove_tree(old + "/pods/" + std::to_string(cookie));
    }
    pods_.add(pod.uid, std::move(*enrolled));
    refused_->watch();
    base::log::info("capture", "{} is captured{}", pod.name, to_string(bringer_of(listeners)));
    return {};
}

Result<> EbpfCapture::refill(const std::string& uid, const std::vector<Listener>& listeners) {
    Pod* pod = pods_.find(uid);
    if (!pod) return base::problem(uid + " is not enrolled");
    return pod->refill(listeners);
}

Result<> EbpfCapture::judge(const std::string& uid, const policy::Plaintext& plaintext) {
    Pod* pod = pods_.find(uid);
    if (!pod) return {};
    auto judged = pod->judge(plaintext);
    refused_->watch();
    return judged;
}

bool EbpfCapture::by_rules(const std::string& uid) const {
    const Pod* pod = pods_.find(uid);
    return pod && pod->by_rules();
}

Result<> EbpfCapture::release_all_but(const std::vector<std::string>& uids) {
    if (others_word()) return {};
    std::vector<std::uint64_t> keep;
    for (const auto& [uid, pod] : pods_) keep.push_back(pod->cookie());
    // A pod that is wanted but could not be enrolled stays closed; a namespace that is gone is nobody's pod.
    int rows = programs_->map("cv_pods");
    for (std::uint64_t cookie : pins_.pods()) {
        auto row = find_row(rows, cookie);
        Fd link = pinned(pins_.pod(cookie) + "/lookup");
        bool wanted = row && std::any_of(uids.begin(), uids.end(), [&](const std::string& uid) {
                          return uid.compare(0, sizeof row->uid - 1, row->uid) == 0;
                      });
        if (wanted && link && netns_of_link(link.get()) != 0) keep.push_back(cookie);
    }
    for (std::uint64_t cookie : pins_.pods())
        if (std::find(keep.begin(), keep.end(), cookie) == keep.end()) publish_addresses(*programs_, cookie, {});
    Result<> undone = undo_pods(pins_.home(), keep);
    for (const std::string& old : pins_.olds()) {
        auto done = undo_pods(old, {});
        keep_first(undone, done);
        if (done) remove_tree(old);  // else its pins are what the next try needs
    }
    return undone;
}

void EbpfCapture::refuse_new() noexcept {
    refusing_ = true;
    alive_ = {};
}

Result<> EbpfCapture::claim(int fd, OwnSocket kind) noexcept {
    cv_own_sock own{static_cast<cv_own_kind>(kind)};
    if (bpf_map_update_elem(own_socks_, &fd, &own, BPF_ANY) != 0) return base::errno_while("claim a socket as ours");
    return {};
}

void EbpfCapture::open_ring() {
    RefusedRing::Asks asks{
        .uid = [this](std::uint64_t cookie) { return uid_of(cookie); },
        .missed = [this] { return total(counts(), &cv_counts::EVENTS_FULL); },
        .is_used =
            [this] { return std::ranges::any_of(pods_, [](const auto& one) { return one.second->refuses(); }); }};
    refused_ = std::make_unique<RefusedRing>(io_, programs_->map("cv_events"), std::move(asks));
}

std::string EbpfCapture::uid_of(std::uint64_t cookie) const {
    auto found = std::ranges::find_if(pods_, [&](const auto& one) { return one.second->cookie() == cookie; });
    return found == pods_.end() ? "" : found->first;
}

FlowTable& EbpfCapture::flows() noexcept {
    return flows_;
}

std::vector<cv_counts> EbpfCapture::counts() const {
    std::vector<cv_counts> per_cpu(static_cast<std::size_t>(libbpf_num_possible_cpus()));
    std::uint32_t row = 0;
    bpf_map_lookup_elem(programs_->map("cv_counts"), &row, per_cpu.data());
    return per_cpu;
}

std::vector<ReasonCount> EbpfCapture::reasons() const {
    const auto per_cpu = counts();
    return {
#define X(name, text) {#name, text, total(per_cpu, &cv_counts::name)},
        CV_REASONS(X)
#undef X
    };
}

std::vector<MapFill> EbpfCapture::fills() const {
    std::vector<MapFill> fills;
    for (const char* name : {"cv_pods", "cv_own_ips", "cv_pod_ips", "cv_policy"})
        fills.push_back(programs_->fill_of(name));
    fills.push_back({"cv_flows", flows_.used(), flows_.size()});
    return fills;
}

std::vector<RepairCount> EbpfCapture::repairs() const {
    return repairs_.counts();
}

Result<> EbpfCapture::cleanup(const std::string& instance) {
    std::string bpffs = mounted_bpffs();
    if (bpffs.empty() || !Pins::exists(bpffs, instance)) return {};
    if (Pins::are_held(bpffs, instance))
        return base::problem("a culvertd of " + instance + " runs; it must end before cleanup");
    auto pins = Pins::open(bpffs, instance);
    if (!pins) return pins.error();
    // Sockops first: with it gone no socket gets a mark that the pods will no longer understand.
    std::vector<std::string> homes = pins->olds();
    homes.push_back(pins->home());
    for (const std::string& home : homes) unpin(home + "/sockops");
    Result<> undone;
    for (const std::string& home : homes) keep_first(undone, undo_pods(home, {}));
    if (undone) pins->remove();
    return undone;
}

}
