// SPDX-License-Identifier: Apache-2.0
// Small HTTP doors for whoever looks at us: metrics and readiness for machines, the control socket for people.
#pragma once
#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include <culvert/admin/feed.hpp>
#include <culvert/admin/query.hpp>
#include <culvert/admin/readiness.hpp>
#include <culvert/base/address.hpp>
#include <culvert/base/result.hpp>

namespace boost::asio {
class io_context;
}
namespace culvert::telemetry {
class Metrics;
}

namespace culvert::admin {

struct Answer {
    unsigned status = 200;
    std::string content_type;
    std::string body;
    std::shared_ptr<Feed> feed = {};  // in the place of a body
    std::string encoding = {};        // of the body: "gzip", or none
};

// Path, without a query, to what answers a GET there. Called on the io_context's thread; one that throws is a 500.
using Routes = std::map<std::string, std::function<Answer()>>;

// The same for what has to ask others first: the reply is given on the io_context's thread, once, then or later. Within
// DoorLimits::answer, or the client is told that nobody knows.
using Reply = std::function<void(Answer)>;
using AskedRoutes = std::map<std::string, std::function<void(const Query&, Reply)>>;

// The same for who has to know how it was asked.
struct Asked {
    bool post = false;
    Query query;
    std::string accept;           // types that the client takes, as it says
    std::string accept_encoding;  // and ways to write them
};
struct Route {
    enum class Methods { get, post, any };
    Methods methods = Methods::get;
    std::function<void(const Asked&, Reply)> answer;
    std::string refusal = "only GET is served here\n";  // of other methods
};
using FullRoutes = std::map<std::string, Route>;

// What a client may cost us.
struct DoorLimits {
    std::chrono::milliseconds request = std::chrono::seconds{2};  // from its first byte (or the accept) to its last
    std::chrono::milliseconds answer = std::chrono::seconds{10};  // to take our answer
    std::chrono::milliseconds idle = std::chrono::seconds{30};    // between two requests
    std::chrono::milliseconds stalled = std::chrono::minutes{5};  // to take some more of a feed
    std::size_t header_bytes = 8192;
    std::size_t connections = 64;         // one more is told to come back later
    std::size_t connections_of_one = 16;  // the same for one address, so that no pod takes all places
};

// HTTP/1.1 with keep-alive. Lives on: the io_context, which one thread runs; made and destroyed there.
class Door {
public:
    // [::] takes IPv4 as well, and is 0.0.0.0 on a node without IPv6. Fails in words that name the address.
    static base::Result<std::unique_ptr<Door>> open(boost::asio::io_context& io, const base::SocketAddress& address,
                                                    Routes routes, DoorLimits limits = {});
    static base::Result<std::unique_ptr<Door>> open(boost::asio::io_context& io, const base::SocketAddress& address,
                                                    FullRoutes routes, DoorLimits limits = {});
    // A unix socket that only our own user may open. One that a dead process left is replaced, a living one's is not.
    static base::Result<std::unique_ptr<Door>> open_local(boost::asio::io_context& io, const std::string& path,
                                                          AskedRoutes routes, DoorLimits limits = {});
    // Cuts the connections; no route is called any more.
    ~Door();

    base::SocketAddress address() const noexcept;  // with the port that the kernel chose for port 0

private:
    class Impl;
    explicit Door(std::shared_ptr<Impl> impl);
    std::shared_ptr<Impl> impl_;
};

// Removes a unix socket that nobody answers on any more.
void remove_dead_socket(const std::string& path) noexcept;

// /metrics and /stats/prometheus, by any method, as ztunnel; OpenMetrics and gzip for those who ask for them. Before
// the page is written `refresh` is told, which calls back when it is done; none: at once.
using Refresh = std::function<void(std::function<void()>)>;
FullRoutes metrics_routes(const telemetry::Metrics& metrics, Refresh refresh = {});
Routes readiness_routes(const Readiness& readiness);  // /healthz/ready

}
