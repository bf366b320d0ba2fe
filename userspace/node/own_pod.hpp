// SPDX-License-Identifier: Apache-2.0
// The daemon's own pod, whose metrics the mesh may read as it would call any pod: through mutual TLS, under its
// policies. As ztunnel's, it has a listener on 15008 in the daemon's own netns and nothing else: nothing of it is
// captured.
//
// The listener is there while the mesh says that this pod speaks HBONE; without that nobody would call it.
//
// Lives on: the control thread. Borrows certificates and workers.
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <culvert/control/environment.hpp>
#include <culvert/state/snapshot.hpp>
#include <culvert/tls/certificates.hpp>

#include "pods.hpp"

namespace culvert::node {

class OwnPod {
public:
    struct Who {
        std::string uid;   // of its workload
        std::string name;  // for people: "namespace/name"
        std::string network;
        state::Identity identity;  // the trust domain is the workload's, once it is known
        std::uint16_t metrics_port;
        bool ipv6;
    };
    // Who we are, if somebody has said it: POD_NAME, POD_NAMESPACE and SERVICE_ACCOUNT, as for ztunnel.
    static std::optional<Who> who(const control::ClusterSettings* cluster, const control::Config& config);

    OwnPod(boost::asio::io_context& io, tls::CertificateManager& certificates, Workers& workers, Who who,
           base::KeepAlive keepalive, std::chrono::milliseconds drain_deadline);

    // Opens, closes or renews, as this mesh says. A port that is taken is named once and tried again every second: a
    // daemon that this one replaces in the same netns closes its own. A listener that somebody shuts is opened again.
    void publish(const state::Snapshot& mesh);
    // For people, while the mesh says that it speaks HBONE.
    struct View {
        Who who;
        std::string why;  // its listener is not open; empty: it is
    };
    std::optional<View> view() const;
    // The pods are a successor's, and so is the port: accepts nothing any more, and what is open may finish.
    void close();
    // The workers end: nothing is opened any more.
    void stop();

private:
    using Shares = std::vector<std::vector<capture::Listener>>;  // by worker

    void settle();
    base::Result<> open(const state::Identity& identity);
    base::Result<> renew();
    base::Result<> open_listeners();
    base::Result<Shares> share_listeners() const;
    void close_listeners();
    void leave();
    void look_after();
    void look_again();
    void complain(const base::Error& error);

    boost::asio::io_context& io_;
    tls::CertificateManager& certificates_;
    Workers& workers_;
    const Who who_;
    const base::KeepAlive keepalive_;
    const std::chrono::milliseconds drain_deadline_;
    boost::asio::steady_timer again_;
    std::optional<state::Identity> wanted_;
    std::optional<state::Identity> here_;
    base::Fd ipv4_, ipv6_;     // the workers have shares; empty: not open
    std::size_t leaving_ = 0;  // workers that still have connections of one that has left
    std::uint64_t openings_ = 0;
    std::string said_;
    bool stopped_ = false;
};

}
