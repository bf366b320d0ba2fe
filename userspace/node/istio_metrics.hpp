// SPDX-License-Identifier: Apache-2.0
// What ztunnel shows under Istio's names, for the dashboards that exist: connections between workloads, the proxies of
// pods, the build. Workers are asked when somebody looks, and once a minute, so that what nobody reads does not pile up
// in them.
//
// Lives on: the control thread. Borrows the workers, the pods and the mesh.
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <memory>
#include <string>

#include <culvert/capture/refused.hpp>
#include <culvert/telemetry/metrics.hpp>

#include "mesh.hpp"
#include "pods.hpp"

namespace culvert::node {

class IstioMetrics : public capture::RefusedReader {
public:
    // `version`: of the Istio that we belong to; empty: unknown.
    IstioMetrics(boost::asio::io_context& io, const Workers& workers, const std::unique_ptr<Pods>& pods,
                 const Mesh& mesh, std::string network, std::string version);

    void expose(telemetry::Metrics& metrics);
    // Asks every worker, and calls back when the last has answered; a worker that does not answer is not waited for.
    void refresh(std::function<void()> done);

    // What the kernel refused is an inbound connection like any other that a policy refuses.
    void refused(const capture::Refused& connection) override;
    void missed(std::uint64_t connections) override;

private:
    struct Look;
    void add(const telemetry::TrafficReport& report);
    void look_now_and_then();
    void append_sockets(std::string& page, telemetry::Dialect dialect) const;

    boost::asio::io_context& io_;
    const Workers& workers_;
    const std::unique_ptr<Pods>& pods_;
    const Mesh& mesh_;
    const std::string network_;
    const std::string version_;
    boost::asio::steady_timer now_and_then_;
    telemetry::Traffic by_kernel_;
    telemetry::TrafficTotals totals_;
    std::uint64_t outbound_ = 0;  // sockets that were open at the last look
    std::uint64_t inbound_plain_ = 0;
};

}
