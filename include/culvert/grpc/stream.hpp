// SPDX-License-Identifier: Apache-2.0
// One call that goes both ways, on a connection of its own.
//
// Lives on: the thread that runs the io_context, and so do the callbacks; none comes from inside a function of Stream.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include <culvert/grpc/status.hpp>
#include <culvert/grpc/target.hpp>

namespace boost::asio {
class io_context;
}

namespace culvert::grpc {

class Stream {
public:
    struct Events {
        std::function<void()> on_open;                     // the connection stands; what was sent leaves
        std::function<void(std::string_view)> on_message;  // nothing more is read before it returns
        std::function<void(const Status&)> on_end;         // once, and last; it may destroy the stream
    };

    // Connects at once. `method`: "/package.Service/Method".
    Stream(boost::asio::io_context& io, Target target, std::string method, Events events, Limits limits = {});
    // Cancels; nothing is called any more.
    ~Stream();
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    void send(std::string message);
    void cancel();

private:
    class Impl;
    std::shared_ptr<Impl> impl_;
};

}
