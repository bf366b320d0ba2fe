// SPDX-License-Identifier: Apache-2.0
#include "iptables.hpp"

#include <linux/capability.h>
#include <sys/socket.h>

#include <algorithm>

#include <culvert/base/log.hpp>
#include <culvert/base/netns.hpp>
#include <culvert/bpf/marks.h>

#include "capabilities.hpp"
#include "kernel.hpp"
#include "pins.hpp"
#include "listeners.hpp"
#include "port_listeners.hpp"
#include "routing.hpp"
#include "undo.hpp"

namespace culvert::capture {

using namespace std::chrono_literals;
using base::Result;

namespace {

constexpr std::chrono::steady_clock::duration between_looks = 500ms;
// A repair is a few processes: so long, and this thread turns to others first.
constexpr std::chrono::steady_clock::duration longest_check = 200ms;

}

IptablesCapture::IptablesCapture(boost::asio::io_context& io, Settings settings, Records records, Tables tables)
    : io_{io},
      settings_{std::move(settings)},
      records_{std::move(records)},
      tables_{std::move(tables)},
      next_check_{io} {
    check_after(between_looks);
}

Result<std::unique_ptr<Capture>> IptablesCapture::start(boost::asio::io_context& io, Settings settings) {
    if (std::string home = mounted_bpffs(); !home.empty() && Pins::exists(home, settings.instance))
        return base::problem("pods of " + settings.instance + " are captured by ebpf; run: culvertd cleanup " +
                             settings.instance);
    // iptables asks for ipsets, and for tables of the legacy kind, through a raw socket.
    constexpr Capability wanted[] = {
        {CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}, {CAP_NET_RAW, "CAP_NET_RAW"}};
    if (auto allowed = check_capabilities(wanted); !allowed) return allowed.error();
    if (auto able = HostProbes::check(); !able) return able.error();
    auto records = Records::open(settings.instance);
    if (!records) return records.error();
    auto tables = Tables::choose(records->lock_file());
    if (!tables) return tables.error();
    std::unique_ptr<IptablesCapture> capture{
        new IptablesCapture{io, std::move(settings), std::move(*records), std::move(*tables)}};
    auto node_netns = open_node_netns(capture->settings_.node_netns);
    if (!node_netns) return node_netns.error();
    capture->node_netns_ = std::move(*node_netns);
    auto name = name_of(capture->node_netns_.get());
    if (!name) return name.error();
    capture->node_ = *name;
    base::log::info("capture", "by rules of iptables{}", capture->tables_.kind());
    return std::unique_ptr<Capture>{std::move(capture)};
}

Result<std::vector<Listener>> IptablesCapture::listen(const PodSpec& pod) {
    auto opened = base::in_netns(
        pod.netns, [&] { return open_port_listeners(settings_.workers, settings_.ipv6 && kernel_has_ipv6()); });
    if (!opened) return opened;
    if (auto set = bequeath(*opened, settings_.keepalive); !set) return set.error();
    return opened;
}

Result<> IptablesCapture::enrol(const PodSpec& pod, const std::vector<Listener>&) {
    if (pods_.find(pod.uid)) return base::problem(pod.name + " is enrolled already");
    if (pods_.size() >= settings_.max_pods)
        return base::problem("there are " + std::to_string(pods_.size()) + " pods already; raise limits.maxPods");
    auto enrolled = RuledPod::enrol({io_, tables_, records_, node_, node_netns_.get(), repairs_}, pod);
    if (!enrolled) return enrolled.error();
    pods_.add(pod.uid, std::move(*enrolled));
    base::log::info("capture", "{} is captured by iptables", pod.name);
    return {};
}

void IptablesCapture::check_after(std::chrono::steady_clock::duration pause) {
    next_check_.expires_after(pause);
    next_check_.async_wait([this](boost::system::error_code cancelled) {
        if (!cancelled) check();
    });
}

// Whoever changes rules all the time, in however many pods, has at most half of this thread.
void IptablesCapture::check() {
    const auto began = std::chrono::steady_clock::now();
    auto took = [&] { return std::chrono::steady_clock::now() - began; };
    for (const auto& [uid, pod] : pods_) {
        if (uid <= checked_) continue;
        pod->check();
        checked_ = uid;
        if (took() > longest_check) return check_after(took());
    }
    checked_.clear();
    check_after(std::max(between_looks, took()));
}

// Rules name a port, not a socket.
Result<> IptablesCapture::refill(const std::string& uid, const std::vector<Listener>&) {
    if (!pods_.find(uid)) return base::problem(uid + " is not enrolled");
    return {};
}

Result<> IptablesCapture::release_all_but(const std::vector<std::string>& uids) {
    Result<> undone;
    for (const Record& record : records_.all()) {
        const RuledPod* here = pods_.find(record.uid);
        if (here && here->netns() == record.netns) continue;
        // A pod that is wanted but could not be enrolled stays closed; a namespace that is gone is nobody's pod.
        bool wanted = !here && std::ranges::find(uids, record.uid) != uids.end();
        base::Fd netns = find_netns(record.netns);
        if (wanted && netns) continue;
        keep_first(undone, undo(records_, record, std::move(netns)));
    }
    return undone;
}

// The workers close the listeners, and the kernel refuses what is redirected to a port that nobody has.
void IptablesCapture::refuse_new() noexcept {}

Result<> IptablesCapture::claim(int fd, OwnSocket) noexcept {
    std::uint32_t mark = CV_MARK_PROXY;
    if (::setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0)
        return base::errno_while("mark a socket as ours");
    return {};
}

std::vector<MapFill> IptablesCapture::fills() const {
    return {{"pods", pods_.size(), settings_.max_pods}};
}

bool IptablesCapture::has_traces(const std::string& instance) {
    return Records::exist(instance);
}

Result<> IptablesCapture::cleanup(const std::string& instance) {
    if (!Records::home_exists(instance)) return {};
    auto records = Records::open(instance);
    if (!records) return records.error();
    Result<> undone;
    for (const Record& record : records->all()) keep_first(undone, undo(*records, record, find_netns(record.netns)));
    if (undone) records->remove_home();
    return undone;
}

}
