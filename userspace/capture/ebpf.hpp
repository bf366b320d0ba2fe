// SPDX-License-Identifier: Apache-2.0
// Capture by our own programs: loads them, attaches them to the cgroup root and to each pod's netns, keeps rules,
// routes and sysctls there, and speaks to the maps.
//
// Lives on: the control thread, as Capture says.
#pragma once
#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <optional>
#include <string>

#include <culvert/base/fd.hpp>
#include <culvert/bpf/reasons.h>
#include <culvert/capture/capture.hpp>

#include "pins.hpp"
#include "pod.hpp"
#include "pod_map.hpp"
#include "programs.hpp"
#include "refused_ring.hpp"
#include "repairs.hpp"

namespace culvert::capture {

class EbpfCapture final : public Capture {
public:
    // Mounts bpffs and cgroup2 where they are missing. Pins of another schema are set aside, their pods closed.
    static base::Result<std::unique_ptr<Capture>> start(boost::asio::io_context& io, Settings settings);
    ~EbpfCapture() override;

    base::Result<std::vector<Listener>> listen(const PodSpec& pod) override;
    base::Result<> enrol(const PodSpec& pod, const std::vector<Listener>& listeners) override;
    base::Result<> refill(const std::string& uid, const std::vector<Listener>& listeners) override;
    base::Result<> exclude(const std::string& uid, const state::Exclusions& exclusions) override {
        return pods_.exclude(uid, exclusions);
    }
    base::Result<> judge(const std::string& uid, const policy::Plaintext& plaintext) override;
    bool by_rules(const std::string& uid) const override;
    base::Result<> stop_capturing(const std::string& uid) override { return pods_.stop_capturing(uid); }
    base::Result<> close(const std::string& uid) override { return pods_.close(uid); }
    base::Result<> release(const std::string& uid) override { return pods_.release(uid); }
    void let_go(const std::string& uid) override { pods_.let_go(uid); }
    base::Result<> release_all_but(const std::vector<std::string>& uids) override;
    void refuse_new() noexcept override;
    base::Result<> claim(int fd, OwnSocket kind) noexcept override;
    FlowTable& flows() noexcept override;
    void add_reader(RefusedReader& reader) override { refused_->add(reader); }
    void remove_reader(RefusedReader& reader) override { refused_->remove(reader); }
    void tell_refused() override { refused_->read(); }
    std::vector<ReasonCount> reasons() const override;
    std::vector<MapFill> fills() const override;
    std::vector<RepairCount> repairs() const override;
    void on_notice(Notices notices) override { notices_ = std::move(notices); }
    void settled() override;

    static base::Result<> cleanup(const std::string& instance);

private:
    EbpfCapture(boost::asio::io_context& io, Settings settings, Pins pins);

    base::Result<> set_aside_other_schemas();
    base::Result<> load();
    base::Result<> attach();
    base::Result<> attach_alive();
    void open_ring();
    std::string uid_of(std::uint64_t cookie) const;
    std::vector<cv_counts> counts() const;  // by CPU
    NodeSide node_side() { return {io_, pins_, *programs_, netns_, daemon_, settings_.workers, guard_hook_, repairs_}; }

    // Twice a second: what nobody reports, and whether another daemon speaks for the node by now.
    void check_later();
    void check();
    std::optional<cv_schema> others_word() const;
    bool others_turn();
    std::size_t pods_taken() const;
    void take_back();
    base::Result<> say_who(bool settled);
    void give_up_what_loading_read();
    void repair_links();
    void repair_pins();

    boost::asio::io_context& io_;
    Settings settings_;
    Pins pins_;                // holds the lock: first to come, last to go
    std::uint64_t netns_ = 0;  // cookie of the node's own
    std::uint64_t daemon_;
    GuardHook guard_hook_ = GuardHook::tcx;
    base::Fd cgroup_;
    std::unique_ptr<Programs> programs_;
    int own_socks_ = -1;  // borrowed from programs, read on every worker
    FlowTable flows_;
    Notices notices_;
    Repairs repairs_;
    // Another daemon that has begun to replace this one, and when it last took a pod.
    struct Other {
        std::chrono::steady_clock::time_point moved;
        std::size_t pods;
    };
    std::optional<Other> other_;
    bool only_begun_ = false;  // where nothing of this instance was before, and no pod has been taken yet
    bool superseded_ = false;
    unsigned checks_ = 0;
    bool refusing_ = false;
    PodMap<Pod> pods_;
    std::unique_ptr<RefusedRing> refused_;      // asks the pods
    base::Fd sockops_;                          // beside its pin, as all links
    base::Fd alive_;                            // goes before the pods: from then on connects are refused
    boost::asio::steady_timer twice_a_second_;  // last: calls back into all of the above
};

}
