// SPDX-License-Identifier: Apache-2.0
// A CNI agent that says anything about pods, on connections that end and begin again. Each message is answered by
// something that it can read, and the node is told of every pod once: when it comes, and when it goes.
#include <fcntl.h>

#include <set>

#include <culvert/base/log.hpp>

#include "input.hpp"
#include "require.hpp"
#include "zds.pb.h"
#include "zds/conversation.hpp"

using namespace culvert;
using fuzz::require;

namespace {

struct Node : zds::Handler {
    std::set<std::string> pods;

    base::Result<> added(const std::string& uid, const zds::WorkloadInfo& info, zds::Netns netns) override {
        require(netns && *netns, "a pod comes with its netns");
        pods.insert(uid);
        if (info.name.size() % 2 == 1) return base::problem(info.name);
        return {};
    }
    void removed(const std::string& uid) override { require(pods.erase(uid) == 1, "who goes was there"); }
    void named_all(const std::set<std::string>& uids) override {
        for (const auto& uid : pods) require(uids.contains(uid), "who was not named is gone");
    }
    void waits_for(const std::string&) override {}
};

std::vector<base::Fd> descriptors(unsigned count) {
    std::vector<base::Fd> some;
    for (unsigned i = 0; i < count; ++i) some.emplace_back(::open(i % 2 == 0 ? "/dev/null" : "/dev/zero", O_RDONLY));
    return some;
}

void check_answer(const zds::Answer& answer) {
    require(!answer.message.empty() && answer.message.size() <= zds::most_bytes, "an answer is what can be read");
    istio::workload::zds::WorkloadResponse response;
    require(response.ParseFromString(answer.message) && response.has_ack(), "an answer is an Ack");
    if (!answer.fault.empty()) require(!response.ack().error().empty(), "who is at fault is told so");
}

}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    base::log::configure(base::log::Level::off, base::log::Format::text);
    fuzz::Input input{data, size};
    Node node;
    zds::Conversation conversation{node};
    while (!input.empty()) {
        // How many descriptors, or a new connection; then a message.
        unsigned first = input.number(1) % 4;
        if (first == 3) conversation.begin();
        std::string message = input.text(input.number(2));
        auto answer = conversation.hear(message, descriptors(first % 3));
        check_answer(answer);
        require(conversation.pods() == node.pods.size(), "both know the same pods");
        require(conversation.pending() <= conversation.pods(), "who waits is one of them");
        if (!answer.fault.empty()) conversation.begin();
        if (first == 2) conversation.retry();
    }
    return 0;
}
