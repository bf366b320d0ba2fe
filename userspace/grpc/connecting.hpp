// SPDX-License-Identifier: Apache-2.0
// From a name to a connected socket: one address after the other, each with its time.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include <culvert/grpc/target.hpp>

#include "lookup.hpp"

namespace culvert::grpc {

class Connecting : public std::enable_shared_from_this<Connecting> {
public:
    using Socket = boost::asio::ip::tcp::socket;
    using Done = std::function<void(base::Result<Socket>)>;

    Connecting(boost::asio::io_context& io, Endpoint endpoint, std::chrono::milliseconds limit, Done done);

    // `done` is called later, once, unless cancel() came first.
    void start();
    void cancel();

private:
    void resolve();
    void next(base::Error last);
    void connected();
    void finish(base::Result<Socket> result);

    const Endpoint endpoint_;
    const std::chrono::milliseconds limit_;
    Done done_;
    std::optional<Lookup> lookup_;
    boost::asio::io_context& io_;
    boost::asio::steady_timer timer_;
    Socket socket_;
    std::vector<boost::asio::ip::tcp::endpoint> addresses_;
    std::size_t tried_ = 0;
};

}
