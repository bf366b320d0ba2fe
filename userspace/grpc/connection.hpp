// SPDX-License-Identifier: Apache-2.0
// One connection to a server, from the look-up of its name to its end, and the calls on it.
//
// Lives on: the io_context's thread. Callbacks come from its handlers only.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include "connecting.hpp"
#include "session.hpp"
#include "transport.hpp"

namespace culvert::grpc {

class Connection : public std::enable_shared_from_this<Connection> {
public:
    // `on_closed`: it is lost, and all calls that were on it have been told.
    Connection(boost::asio::io_context& io, Target target, Limits limits, std::function<void()> on_closed);

    void start();
    void add(std::shared_ptr<Call> call);
    void wake(const std::shared_ptr<Call>& call);  // it has more to send
    void end(const std::shared_ptr<Call>& call, Status status);
    // Says goodbye. Let the calls on it forget their owners before.
    void close();

    bool takes_calls() const noexcept;

private:
    enum class State : std::uint8_t { connecting, shaking_hands, open, closed };

    void connected(Connecting::Socket socket);
    void shake_hands();
    void open();
    void begin(std::shared_ptr<Call> call);
    void take_waiting();
    void pump_soon();
    void pump();
    bool hear();  // false: there may be more
    void say();
    void wait_for(Wait what);
    void watch_silence(std::chrono::milliseconds limit, bool asked);
    void lost(const std::string& why, std::chrono::milliseconds silence = {});
    void fail(Status status);
    void release();

    boost::asio::io_context& io_;
    const Target target_;
    const Limits limits_;
    std::function<void()> on_closed_;

    State state_ = State::connecting;
    Endpoint endpoint_;
    std::shared_ptr<Connecting> connecting_;
    std::vector<std::shared_ptr<Call>> waiting_;  // for the connection
    std::optional<Connecting::Socket> socket_;
    std::optional<Transport> transport_;
    Session session_;
    std::string unsent_;
    boost::asio::steady_timer timer_;  // of the handshake, then of silence
    std::chrono::steady_clock::time_point last_heard_;
    bool pump_is_due_ = false;
    bool waits_to_read_ = false;
    bool waits_to_write_ = false;
};

}
