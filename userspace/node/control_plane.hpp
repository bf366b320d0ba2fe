// SPDX-License-Identifier: Apache-2.0
// A node of a cluster: istiod tells of the mesh, its CA signs, and Istio's CNI agent hands over the pods.
#pragma once
#include <boost/asio/steady_timer.hpp>

#include <map>
#include <memory>
#include <optional>

#include <culvert/ca/client.hpp>
#include <culvert/control/environment.hpp>
#include <culvert/control/watch.hpp>
#include <culvert/xds/client.hpp>
#include <culvert/zds/client.hpp>

#include "source.hpp"

namespace culvert::node {

class ControlPlane final : public Source, private zds::Handler {
public:
    ControlPlane(control::ClusterSettings cluster, control::NodeSettings node);

    base::Result<> open(boost::asio::io_context& io, admin::Readiness& readiness) override;
    tls::Issuer& issuer() override { return *ca_; }
    void when_known(std::function<void()> go) override;
    std::set<state::Identity> identities() const override;
    void expose(telemetry::Metrics& metrics) override;
    bool on_demand() const override { return cluster_.on_demand; }
    void ask(const std::string& name, std::function<void(bool)> answered) override;
    void begin(const Site& site) override;
    void look_again() override {}  // what there is to follow is followed anyway
    void stop() override;
    const control::ClusterSettings* cluster() const override { return &cluster_; }
    const Staged* staged() const override { return xds_ ? &xds_->store().aside() : nullptr; }
    std::string name() const override { return cluster_.xds.address; }

private:
    // What the agent says.
    base::Result<> added(const std::string& uid, const zds::WorkloadInfo& info, zds::Netns netns) override;
    void removed(const std::string& uid) override;
    void named_all(const std::set<std::string>& uids) override;
    void waits_for(const std::string& what) override;

    void publish_soon();
    void publish();
    control::Pod pod_of(const zds::WorkloadInfo& info, zds::Netns netns) const;
    void look_at_trust_domains();
    void follow_roots();

    const control::ClusterSettings cluster_;
    const control::NodeSettings node_;
    boost::asio::io_context* io_ = nullptr;
    const Site* site_ = nullptr;
    std::unique_ptr<ca::Client> ca_;
    std::function<void()> go_;
    std::unique_ptr<xds::Client> xds_;
    std::unique_ptr<zds::Client> zds_;
    std::unique_ptr<control::FileWatch> roots_;
    std::optional<boost::asio::steady_timer> next_publish_;
    bool publish_waits_ = false;
    std::vector<std::function<void(bool)>> answered_;  // once it is done
    struct Handed {
        control::Pod pod;
        std::uint64_t number;  // greater than of those that came before
    };
    // Of several pods of one name, made anew one after the other, the one that came last has the mesh.
    const Handed* last_of(const std::string& name) const;
    std::map<std::string, Handed> pods_;  // by the agent's uid
    std::uint64_t handed_ = 0;
};

}
