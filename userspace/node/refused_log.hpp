// SPDX-License-Identifier: Apache-2.0
// The access log's lines of connections that the kernel refused: as the proxy would have written them. The first of an
// interval have lines of their own, the rest are one line with their number: a flood must not push others out of the
// log. The policy that refused is found by asking again.
//
// Lives on: the control thread.
#pragma once
#include <boost/asio/steady_timer.hpp>

#include <string>

#include <culvert/capture/refused.hpp>
#include <culvert/policy/set.hpp>
#include <culvert/telemetry/access_log.hpp>

namespace culvert::node {

class RefusedLog final : public capture::RefusedReader {
public:
    // `ring` of the log is ours, and so is that place among those who count a policy's hits.
    RefusedLog(boost::asio::io_context& io, telemetry::AccessLog& log, unsigned ring, std::string network);

    // What explains the refusals from now on.
    void publish(state::SnapshotPtr mesh, policy::SetPtr policies);

    void refused(const capture::Refused& connection) override;
    void missed(std::uint64_t connections) override;

private:
    static constexpr unsigned lines = 50;  // per interval
    void begin_interval();
    void sum_up();

    telemetry::AccessLog& log_;
    unsigned ring_;
    std::string network_;
    state::SnapshotPtr mesh_;
    policy::SetPtr policies_;
    boost::asio::steady_timer interval_;
    bool counting_ = false;
    unsigned said_ = 0;
    std::uint64_t unsaid_ = 0;
    base::SocketAddress last_;  // of those without a line
};

}
