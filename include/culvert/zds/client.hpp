// SPDX-License-Identifier: Apache-2.0
// Hears from Istio's CNI agent which pods of this node are in the mesh, each with its network namespace.
#pragma once
#include <chrono>
#include <memory>
#include <set>
#include <string>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>

namespace boost::asio {
class io_context;
}

namespace culvert::zds {

struct WorkloadInfo {
    std::string name;
    std::string namespace_;
    std::string service_account;
};

using Netns = std::shared_ptr<const base::Fd>;

// Told what the agent says, in its order. The agent waits meanwhile, five seconds at most. Must not end the client.
class Handler {
public:
    // A pod that is new, or has another netns than it had. The text of a failure goes to the agent; the same is then
    // asked again every five seconds, until it works or the pod is removed.
    virtual base::Result<> added(const std::string& uid, const WorkloadInfo& info, Netns netns) = 0;
    // A pod that was added, whatever the answer was.
    virtual void removed(const std::string& uid) = 0;
    // The agent has named every pod of the node, and those that it no longer does are removed. With those that it wants
    // kept as they are, without having their netns.
    virtual void named_all(const std::set<std::string>& uids) = 0;
    // Whenever that changes. What a node waits for before it is ready; empty when it is.
    virtual void waits_for(const std::string& what) = 0;

protected:
    ~Handler() = default;
};

// Delays of both kinds double, up to the longest.
struct Pace {
    std::chrono::milliseconds to_connect{10};  // after the first attempt that failed
    std::chrono::milliseconds to_begin{5};     // after a connection that ended; a fifth more or less
    std::chrono::milliseconds longest{15'000};
    // A connection that lived so long owes nothing to those before it.
    std::chrono::milliseconds good{1'000};
    std::chrono::milliseconds retry{5'000};  // of pods that could not be added
};

// Lives on: the thread that runs the io_context, which outlives it, as the handler does. Pods outlive its connections:
// what they were, they are until the agent that comes next has named all of its own.
class Client {
public:
    // Of INPOD_UDS. Begins at once, and never gives up.
    Client(boost::asio::io_context& io, std::string path, Handler& handler, Pace pace);
    Client(boost::asio::io_context& io, std::string path, Handler& handler)
        : Client{io, std::move(path), handler, Pace{}} {}
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    bool connected() const noexcept;
    std::size_t pods() const noexcept;     // that were added
    std::size_t pending() const noexcept;  // of those, that could not be

private:
    class Impl;
    std::shared_ptr<Impl> impl_;  // kept by the object, and by waits that have been cancelled but not told yet
};

}
