// SPDX-License-Identifier: Apache-2.0
// Capture by the iptables rules that istio-cni writes: the same proxy behind another redirect, to compare with.
// What the rules cannot do is in docs/ARCHITECTURE.md, "The two captures".
//
// Lives on: the control thread, as Capture says.
#pragma once
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <memory>
#include <string>

#include <culvert/base/fd.hpp>
#include <culvert/capture/capture.hpp>

#include "pod_map.hpp"
#include "records.hpp"
#include "repairs.hpp"
#include "ruled_pod.hpp"
#include "tables.hpp"

namespace culvert::capture {

class IptablesCapture final : public Capture {
public:
    static base::Result<std::unique_ptr<Capture>> start(boost::asio::io_context& io, Settings settings);

    base::Result<std::vector<Listener>> listen(const PodSpec& pod) override;
    base::Result<> enrol(const PodSpec& pod, const std::vector<Listener>& listeners) override;
    base::Result<> refill(const std::string& uid, const std::vector<Listener>& listeners) override;
    base::Result<> exclude(const std::string& uid, const state::Exclusions& exclusions) override {
        return pods_.exclude(uid, exclusions);
    }
    base::Result<> judge(const std::string&, const policy::Plaintext&) override { return {}; }
    bool by_rules(const std::string&) const override { return false; }  // those are ours
    base::Result<> stop_capturing(const std::string& uid) override { return pods_.stop_capturing(uid); }
    base::Result<> close(const std::string& uid) override { return pods_.close(uid); }
    base::Result<> release(const std::string& uid) override { return pods_.release(uid); }
    void let_go(const std::string& uid) override { pods_.let_go(uid); }
    base::Result<> release_all_but(const std::vector<std::string>& uids) override;
    void refuse_new() noexcept override;
    base::Result<> claim(int fd, OwnSocket kind) noexcept override;
    FlowTable& flows() noexcept override { return no_flows_; }
    void add_reader(RefusedReader&) override {}
    void remove_reader(RefusedReader&) override {}
    void tell_refused() override {}
    std::vector<ReasonCount> reasons() const override { return {}; }
    std::vector<MapFill> fills() const override;
    std::vector<RepairCount> repairs() const override { return repairs_.counts(); }
    void on_notice(Notices) override {}
    void settled() override {}

    static bool has_traces(const std::string& instance);
    static base::Result<> cleanup(const std::string& instance);

private:
    IptablesCapture(boost::asio::io_context& io, Settings settings, Records records, Tables tables);
    void check_after(std::chrono::steady_clock::duration pause);
    void check();

    boost::asio::io_context& io_;
    Settings settings_;
    Records records_;  // holds the lock: first to come, last to go
    Tables tables_;
    base::Fd node_netns_;
    NetnsName node_;
    FlowTable no_flows_;
    Repairs repairs_;
    PodMap<RuledPod> pods_;
    std::string checked_;  // the last pod that was looked after in this round
    boost::asio::steady_timer next_check_;
};

}
