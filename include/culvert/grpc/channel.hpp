// SPDX-License-Identifier: Apache-2.0
// Calls of one question and one answer. They share a connection while there are any, and a little longer.
//
// Lives on: the thread that runs the io_context, and so do the callbacks; none comes from inside a function of Channel.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <culvert/grpc/status.hpp>
#include <culvert/grpc/target.hpp>

namespace boost::asio {
class io_context;
}

namespace culvert::grpc {

struct Reply {
    Status status;
    std::string message;  // when the status is ok
};

class Channel {
public:
    using Done = std::function<void(Reply)>;

    Channel(boost::asio::io_context& io, Target target, Limits limits = {});
    // Cancels all calls; nothing is called any more.
    ~Channel();
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;

    // `done` is called once, at the latest when the deadline has passed; it may destroy the channel.
    // `method`: "/package.Service/Method".
    void call(std::string method, std::string request, std::chrono::milliseconds deadline, Done done);

private:
    class Impl;
    std::shared_ptr<Impl> impl_;
};

}
