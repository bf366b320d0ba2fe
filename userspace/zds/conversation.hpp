// SPDX-License-Identifier: Apache-2.0
// Our half of what is said about pods, from one connection to the next. No sockets: messages in, answers out.
#pragma once
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <culvert/zds/client.hpp>

namespace istio::workload::zds {
class AddWorkload;
}

namespace culvert::zds {

std::string hello();

// What the agent reads at once, of an answer.
inline constexpr std::size_t most_bytes = 1024;

struct Answer {
    std::string message;
    std::string fault;  // of the agent's; the connection ends after the answer
};

// To a message that could not be read.
Answer unreadable(const std::string& why);

class Conversation {
public:
    explicit Conversation(Handler& handler) noexcept : handler_{handler} {}

    // A new connection: the agent will name all pods again.
    void begin();
    // The answer is never empty: an empty packet would say that we are gone.
    Answer hear(std::string_view message, std::vector<base::Fd> descriptors);
    // Once more for the pods that could not be added.
    void retry();

    bool named_all() const noexcept { return named_all_; }
    std::size_t pods() const noexcept { return pods_.size(); }
    std::size_t pending() const noexcept;

private:
    struct Pod {
        WorkloadInfo info;
        Netns netns;  // held, so that no other can be taken for it
        std::string failure;
    };
    using Result = base::Result<>;  // an error ends the connection

    // What the agent is told of a pod; empty: it is in the mesh.
    std::string add(const istio::workload::zds::AddWorkload& add, base::Fd netns);
    std::string hand_over(const std::string& uid, Pod& pod);
    Result keep(const std::string& uid);
    void remove(const std::string& uid);
    Result reconcile();

    Handler& handler_;
    std::map<std::string, Pod> pods_;
    std::set<std::string> named_;  // on this connection
    bool named_all_ = false;
};

}
