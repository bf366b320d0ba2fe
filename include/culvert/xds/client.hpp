// SPDX-License-Identifier: Apache-2.0
// Keeps a Store as istiod tells it, over one stream after the other.
//
// Lives on: the thread that runs the io_context, and so do the callbacks; none comes from inside a function of Client.
// What a response says is taken on there, too: of 10 000 workloads in one response, 0.2 s in which the thread does
// nothing else.
#pragma once
#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <culvert/grpc/target.hpp>
#include <culvert/xds/conversation.hpp>
#include <culvert/xds/store.hpp>

namespace boost::asio {
class io_context;
}

namespace culvert::xds {

// Why streams ended, in the words of ztunnel's metric.
enum class Termination : std::uint8_t {
    connection_error,  // there was no stream: name, address, certificate, token
    error,             // istiod said no, or what it said is no xDS
    reconnect,         // the connection went, as connections do
    complete,          // istiod ended it without a word
};
inline constexpr std::size_t terminations = 4;
std::string_view to_string(Termination) noexcept;  // "ConnectionError", "Error", "Reconnect", "Complete"

struct Stats {
    struct OfKind {
        std::uint64_t responses = 0;
        std::uint64_t bytes = 0;
        std::uint64_t refused_resources = 0;
    };

    bool connected = false;        // istiod has answered on this stream
    std::uint64_t connection = 0;  // the number of the stream; 1 is the first try
    bool ready = false;            // each kind was told of
    std::optional<std::chrono::steady_clock::time_point> last_message;
    // How old the state may be: since when nothing would have told us of a change. Nothing while connected, and before
    // the first answer.
    std::optional<std::chrono::steady_clock::time_point> stale_since;
    std::array<OfKind, kinds> of;
    std::array<std::uint64_t, terminations> ended{};
    std::string last_failure;  // empty once istiod has answered again
};

class Client {
public:
    struct Callbacks {
        std::function<void(Kind)> on_change;  // the store has it; istiod is told after this
        std::function<void()> on_ready;       // once: the first response of each kind was answered
    };
    struct Pace {
        std::chrono::milliseconds first{10};
        std::chrono::milliseconds most{15'000};
        std::chrono::milliseconds settled{1'000};    // a stream that lived so long did not fail to begin
        std::chrono::milliseconds patience{10'000};  // with an istiod that has not answered; then it is said
    };
    struct Options {
        Interest interest = Interest::everything;
        Limits limits;
        grpc::Limits connection;
        Pace pace;
    };
    enum class Told : std::uint8_t { found, missing, too_late };

    // Connects at once, and for ever again.
    Client(boost::asio::io_context& io, grpc::Target istiod, Node node, Callbacks callbacks, Options options);
    Client(boost::asio::io_context& io, grpc::Target istiod, Node node, Callbacks callbacks);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // Of a client on demand: a uid, "<network>/<ip>" or "<namespace>/<hostname>". `done` is called once; after `limit`
    // the question is taken back.
    void ask(const std::string& name, std::chrono::milliseconds limit, std::function<void(Told)> done);

    const Store& store() const noexcept;
    Stats stats() const;

private:
    class Impl;
    std::shared_ptr<Impl> impl_;
};

}
