// SPDX-License-Identifier: Apache-2.0
// What culvertctl trace shows: the events of the workers, passed on to whoever asks, each to those who ask for its pod.
//
// Lives on: the control thread. Borrows the workers, and what was published to them last.
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <string>
#include <vector>

#include <culvert/admin/feed.hpp>
#include <culvert/capture/refused.hpp>
#include <culvert/telemetry/trace.hpp>

#include "mesh.hpp"
#include "pods.hpp"

namespace culvert::node {

class Tracing : public capture::RefusedReader {
public:
    Tracing(boost::asio::io_context& io, const Workers& workers, std::string network, const Mesh& mesh)
        : io_{io}, workers_{workers}, network_{std::move(network)}, mesh_{mesh}, now_and_then_{io} {}

    // A line of JSON for each event, the first of which says that all workers have begun.
    std::shared_ptr<admin::Feed> follow(const control::Pod& pod, const std::vector<base::IpAddress>& ips);
    // What there is to tell is told, and every reader hears that this was all.
    void end();

    void refused(const capture::Refused& connection) override;
    void missed(std::uint64_t connections) override;

private:
    struct Reader {
        std::string uid;
        std::vector<base::IpAddress> ips;
        std::shared_ptr<admin::Feed> feed;
        std::uint64_t dropped = 0;  // and not said yet
    };

    void tell_workers(std::function<void()> begun);
    void look_after();
    void collect();
    void pass_on(const telemetry::TraceEvent& event);
    void say_dropped(std::uint64_t by_workers);

    boost::asio::io_context& io_;
    const Workers& workers_;
    const std::string network_;
    const Mesh& mesh_;
    boost::asio::steady_timer now_and_then_;
    std::vector<std::shared_ptr<telemetry::TraceRing>> rings_;  // one of each worker, while somebody reads
    std::uint64_t dropped_by_workers_ = 0;                      // of these rings, when last looked at
    std::vector<Reader> readers_;
};

}
